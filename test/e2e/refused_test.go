package e2e

import (
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// What cannot run says so, creates nothing, and locks nothing.
func TestWhatCannotRunFailsAtOnce(t *testing.T) {
	t.Parallel()
	w := spec(t)
	w.deployment("app")
	for _, c := range []struct {
		name, workflow, target, says string
		reason                       v1alpha1.FailureReason
		edit                         func(*v1alpha1.WorkflowExecution)
	}{
		{"unknown workflow", "no-such-remedy", "app", "no-such-remedy", v1alpha1.FailureConfigurationError, limit("64Mi")},
		{"undeclared parameter", "lasts", "app", "MEMORY_LIMIT", v1alpha1.FailureConfigurationError, limit("64Mi")},
		{"missing parameter", "fails", "app", "PASSWORD", v1alpha1.FailureConfigurationError, func(*v1alpha1.WorkflowExecution) {}},
		{"value against its pattern", "increase-memory", "app", "MEMORY_LIMIT", v1alpha1.FailureConfigurationError, limit("plenty")},
	} {
		t.Run(c.name, func(t *testing.T) {
			sub := *w
			sub.TB = t
			e := sub.untilRecorded(sub.execute(c.workflow, w.target(c.target), c.edit))
			f := e.Status.FailureDetails
			if f == nil || f.Reason != c.reason {
				t.Fatalf("phase %s, failure %+v; want %s", e.Status.Phase, f, c.reason)
			}
			if said := f.Message + f.NaturalLanguageSummary; !strings.Contains(said, c.says) {
				t.Errorf("the failure does not name %s: %s", c.says, said)
			}
			if e.Status.PipelineRunRef != nil {
				t.Errorf("a run exists: %+v", e.Status.PipelineRunRef)
			}
			if got := types(sub.trail(e)); got != "created failed" {
				t.Errorf("the trail is %q", got)
			}
		})
	}
}

func TestAMalformedTargetIsRefusedByTheAPIServer(t *testing.T) {
	t.Parallel()
	w := spec(t)
	e := &v1alpha1.WorkflowExecution{}
	e.GenerateName, e.Namespace = "malformed-", w.namespace
	e.Spec.WorkflowRef = v1alpha1.WorkflowRef{WorkflowID: "lasts", Version: "1.0.0"}
	e.Spec.TargetResource = "deployment"

	err := w.Client.Create(w.ctx, e)

	if err == nil || !strings.Contains(err.Error(), "namespace/kind/name") {
		t.Errorf("error = %v, want one that says what a target looks like", err)
	}
}
