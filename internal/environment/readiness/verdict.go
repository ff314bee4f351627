package readiness

import (
	"fmt"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// verdict is what an object says of itself.
type verdict struct {
	ready, failed bool
	message       string // what is missing, or why it failed
}

// judge reads the object's own status.
func judge(u *unstructured.Unstructured) (verdict, error) {
	if u.GetDeletionTimestamp() != nil {
		return verdict{message: "it is being deleted" + heldBy(u)}, nil
	}
	result, err := status.Compute(u)
	if err != nil {
		return verdict{}, fmt.Errorf("reading the status of %s: %w", named(u), err)
	}
	v := verdict{
		ready:   result.Status == status.CurrentStatus,
		failed:  result.Status == status.FailedStatus,
		message: result.Message,
	}
	if u.GetKind() == "Job" && v.ready { // kstatus takes a Job that has only begun for ready
		v.ready = condition(u, "Complete") == "True"
	}
	if v.failed {
		v.message = strings.Join(append([]string{v.message}, reasons(u)...), "; ")
	}
	return v, nil
}

func heldBy(u *unstructured.Unstructured) string {
	if names := u.GetFinalizers(); len(names) > 0 {
		return ", held by " + strings.Join(names, ", ")
	}
	return ""
}

// conditions returns the conditions of an object, whatever its kind.
func conditions(u *unstructured.Unstructured) []map[string]any {
	entries, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	var found []map[string]any
	for _, e := range entries {
		if c, ok := e.(map[string]any); ok {
			found = append(found, c)
		}
	}
	return found
}

func condition(u *unstructured.Unstructured, kind string) string {
	for _, c := range conditions(u) {
		if c["type"] == kind {
			return text(c, "status")
		}
	}
	return ""
}

// reasons are the messages of the conditions that explain a failure.
func reasons(u *unstructured.Unstructured) []string {
	var found []string
	for _, c := range conditions(u) {
		if message := text(c, "message"); message != "" && (c["type"] == "Failed" || c["status"] == "False") {
			found = append(found, message)
		}
	}
	return found
}

// conditionLines writes each condition on a line: "Available=False (reason: message)".
func conditionLines(u *unstructured.Unstructured) []string {
	var lines []string
	for _, c := range conditions(u) {
		line := text(c, "type") + "=" + text(c, "status")
		why := strings.Trim(text(c, "reason")+": "+text(c, "message"), ": ")
		if why != "" {
			line += " (" + why + ")"
		}
		lines = append(lines, line)
	}
	return lines
}

func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}
