package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// killController ends the controller's pod without any grace.
func (w *world) killController() {
	w.Helper()
	err := w.Client.DeleteAllOf(w.ctx, &corev1.Pod{}, client.InNamespace(v1alpha1.SystemNamespace),
		client.MatchingLabels{"app.kubernetes.io/component": "controller"}, client.GracePeriodSeconds(0))
	if err != nil {
		w.Fatalf("killing the controller: %v", err)
	}
}

func TestAKilledControllerGoesOn(t *testing.T) {
	w := spec(t)
	w.deployment("app")
	e := w.execute("increase-memory", w.target("app"), limit("64Mi"))
	e = w.untilExecution(e, func(e *v1alpha1.WorkflowExecution) bool { return ended(e) || e.Status.PipelineRunRef != nil })

	w.killController()

	e = w.untilRecorded(e)
	if e.Status.Phase != v1alpha1.PhaseCompleted {
		t.Errorf("phase %s, want Completed: %+v", e.Status.Phase, e.Status.FailureDetails)
	}
	if got := types(w.trail(e)); got != "created locked started completed" {
		t.Errorf("the trail is %q", got)
	}
}
