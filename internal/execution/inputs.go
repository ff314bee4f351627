package execution

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

func uid(s string) types.UID { return types.UID(s) }

// CheckInputs says why what an execution hands to its workflow can never be run,
// or nothing. Values of parameters are not printed.
func CheckInputs(ex *v1alpha1.WorkflowExecution, w Workflow) *Problem {
	if w.Resolved == nil {
		return nil
	}
	for _, check := range []func(*v1alpha1.WorkflowExecution, Workflow) *Problem{checkParameters, checkAccount, checkReferences} {
		if p := check(ex, w); p != nil {
			return p
		}
	}
	return nil
}

func invalidInput(rule, format string, args ...any) *Problem {
	return &Problem{Rule: rule, Reason: v1alpha1.FailureConfigurationError, Message: fmt.Sprintf(format, args...)}
}

func checkParameters(ex *v1alpha1.WorkflowExecution, w Workflow) *Problem {
	workflow := ex.Spec.WorkflowRef
	declared := map[string]v1alpha1.DeclaredParameter{}
	for _, p := range w.Resolved.Parameters {
		declared[p.Name] = p
	}
	for _, name := range slices.Sorted(maps.Keys(ex.Spec.Parameters)) {
		p, ok := declared[name]
		if !ok && w.Resolved.Registered {
			return invalidInput("undeclared-parameter", "workflow %s@%s declares no parameter %s; it declares: %s",
				workflow.WorkflowID, workflow.Version, name, listed(slices.Sorted(maps.Keys(declared))))
		}
		if why := refuses(p, ex.Spec.Parameters[name]); why != "" {
			return invalidInput("invalid-parameter", "parameter %s of workflow %s@%s %s", name, workflow.WorkflowID, workflow.Version, why)
		}
	}
	for _, p := range w.Resolved.Parameters {
		if _, given := ex.Spec.Parameters[p.Name]; p.Required && p.Default == nil && !given && p.Name != v1alpha1.TargetParameter {
			return invalidInput("missing-parameter", "workflow %s@%s needs parameter %s, which has no default", workflow.WorkflowID, workflow.Version, p.Name)
		}
	}
	return nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// refuses says what is wrong with a value of a parameter, without the value.
func refuses(p v1alpha1.DeclaredParameter, value string) string {
	if len(p.Enum) > 0 && !slices.Contains(p.Enum, value) {
		return "must be one of: " + strings.Join(p.Enum, ", ")
	}
	if why := refusesType(p, value); why != "" {
		return why
	}
	if p.Pattern == "" {
		return ""
	}
	re, err := regexp.Compile(`^(?:` + p.Pattern + `)$`)
	if err != nil {
		return "has a pattern in the catalog that is no regular expression: " + p.Pattern
	}
	if !re.MatchString(value) {
		return "must match " + p.Pattern
	}
	return ""
}

func refusesType(p v1alpha1.DeclaredParameter, value string) string {
	switch p.Type {
	case "boolean":
		if value != "true" && value != "false" {
			return "must be true or false"
		}
	case "integer":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return "must be an integer"
		}
		return refusesNumber(p, float64(n))
	case "number":
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || n-n != 0 {
			return "must be a number"
		}
		return refusesNumber(p, n)
	}
	return ""
}

func refusesNumber(p v1alpha1.DeclaredParameter, n float64) string {
	if p.Minimum != nil && n < *p.Minimum {
		return fmt.Sprintf("must be at least %v", *p.Minimum)
	}
	if p.Maximum != nil && n > *p.Maximum {
		return fmt.Sprintf("must be at most %v", *p.Maximum)
	}
	return ""
}

// checkAccount: a run may only have the account its workflow declares.
func checkAccount(ex *v1alpha1.WorkflowExecution, w Workflow) *Problem {
	c := ex.Spec.ExecutionConfig
	if c == nil || c.ServiceAccountName == "" || c.ServiceAccountName == w.Resolved.ServiceAccountName {
		return nil
	}
	return &Problem{Rule: "undeclared-account", Reason: v1alpha1.FailureForbidden, Message: fmt.Sprintf(
		"workflow %s@%s does not declare the service account %s; its runs use %s",
		ex.Spec.WorkflowRef.WorkflowID, ex.Spec.WorkflowRef.Version, c.ServiceAccountName, w.Resolved.ServiceAccountName)}
}

func checkReferences(ex *v1alpha1.WorkflowExecution, w Workflow) *Problem {
	workflow := ex.Spec.WorkflowRef.WorkflowID + "@" + ex.Spec.WorkflowRef.Version
	for _, r := range []struct {
		kind           string
		used, declared []string
	}{
		{"Secret", ex.Spec.SecretRefs, w.Resolved.Secrets},
		{"ConfigMap", ex.Spec.ConfigMapRefs, w.Resolved.ConfigMaps},
	} {
		for _, name := range r.used {
			if !slices.Contains(r.declared, name) {
				return &Problem{Rule: "undeclared-reference", Reason: v1alpha1.FailureForbidden, Message: fmt.Sprintf(
					"workflow %s does not declare the %s %s; it declares: %s", workflow, r.kind, name, listed(r.declared))}
			}
		}
	}
	for _, r := range w.References {
		switch {
		case !r.Exists:
			return invalidInput("missing-reference", "%s %s/%s does not exist; create it with the label %s=true", r.Kind, v1alpha1.WorkflowNamespace, r.Name, v1alpha1.LabelForWorkflows)
		case !r.ForWorkflows:
			return &Problem{Rule: "unlabelled-reference", Reason: v1alpha1.FailureForbidden, Message: fmt.Sprintf(
				"%s %s/%s may not be used by workflows: it lacks the label %s=true", r.Kind, v1alpha1.WorkflowNamespace, r.Name, v1alpha1.LabelForWorkflows)}
		}
	}
	return nil
}
