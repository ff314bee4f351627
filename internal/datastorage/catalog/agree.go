package catalog

import (
	"fmt"
	"slices"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// PipelineParameter is a parameter as a Pipeline takes it.
type PipelineParameter struct {
	Name    string
	Type    string  // string, array or object; empty means string
	Default *string // nil: it has none
}

// Disagreements says how the declared parameters of a workflow and those that its
// Pipeline takes do not fit: what is given must arrive, and what is taken must be
// given. Executions hand over texts, the declared defaults among them.
func Disagreements(declared []api.WorkflowParameter, taken []PipelineParameter) []string {
	var found []string
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for i := range declared {
		if declared[i].Name == v1alpha1.TargetParameter {
			continue // every run is given it, declared or not
		}
		if !slices.ContainsFunc(taken, func(t PipelineParameter) bool { return t.Name == declared[i].Name }) {
			say("parameter %s is declared, but the Pipeline does not take it", declared[i].Name)
		}
	}
	for _, t := range taken {
		if t.Type != "" && t.Type != "string" {
			say("parameter %s is of type %s in the Pipeline; executions hand over texts", t.Name, t.Type)
		}
		i := slices.IndexFunc(declared, func(d api.WorkflowParameter) bool { return d.Name == t.Name })
		switch {
		case t.Name == v1alpha1.TargetParameter:
		case i < 0:
			say("parameter %s is taken by the Pipeline, but not declared", t.Name)
		default:
			if m := apart(&declared[i], t); m != "" {
				say("parameter %s %s", t.Name, m)
			}
		}
	}
	return found
}

// apart says how the two sides of one parameter do not fit.
func apart(d *api.WorkflowParameter, t PipelineParameter) string {
	switch {
	case d.Default == nil && t.Default == nil && !d.Required:
		return "may be left out by an execution, but has a default neither where it is declared nor in the Pipeline"
	case d.Default != nil && t.Default != nil && *d.Default != *t.Default:
		return fmt.Sprintf("is declared with the default %q, the Pipeline has %q", *d.Default, *t.Default)
	}
	return ""
}
