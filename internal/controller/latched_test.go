package controller

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine/pod"
)

// TestTheLastVersionOfAPodIsForgottenWhenNothingIsOwed: the last pod of a run goes
// after the run was let go, and nobody would forget it later.
func TestTheLastVersionOfAPodIsForgottenWhenNothingIsOwed(t *testing.T) {
	for _, c := range []struct {
		why  string
		owes bool
		err  error
		kept bool
	}{
		{"its execution has not heard of it", true, nil, true},
		{"nobody can be asked", false, errors.New("connection refused"), true},
		{"nothing is owed any more", false, nil, false},
	} {
		latch := &pod.Latch{}
		l := newLatched(latch, func(context.Context, client.Object) (bool, error) { return c.owes, c.err })
		queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		p := &corev1.Pod{}
		p.Labels = map[string]string{v1alpha1.LabelExecutionUID: "u"}
		p.Annotations = map[string]string{v1alpha1.AnnotationExecution: "team/a"}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "step-main", ImageID: "sha256:1"}}
		l.Delete(t.Context(), event.DeleteEvent{Object: p}, queue)
		if got := latch.Started("u"); got != c.kept {
			t.Errorf("%s: that its code has started is known: %t, want %t", c.why, got, c.kept)
		}
		if queue.Len() != 1 {
			t.Errorf("%s: %d executions are woken, want one", c.why, queue.Len())
		}
		queue.ShutDown()
	}
}
