package controller

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/execution"
)

// observeGate reads what may keep back anything new: the switch and the limits.
func (r *Reconciler) observeGate(ctx context.Context, s *execution.Snapshot) (err error) {
	if s.Policy.Paused, err = r.whyPaused(ctx); err != nil || !r.Slots.limited() {
		return err
	}
	s.Policy.Running, s.Policy.RunningInNamespace, err = r.Slots.Count(ctx, s.Execution.Namespace)
	return err
}

// whyPaused says who has paused the controller and why; nothing when nobody has.
func (r *Reconciler) whyPaused(ctx context.Context) (string, error) {
	if r.Policy.Paused != "" {
		return r.Policy.Paused, nil
	}
	var p v1alpha1.Pause
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.PauseName}, &p)
	if client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("reading whether the controller is paused: %w", err)
	}
	switch {
	case err != nil || !p.Spec.Paused:
		return "", nil
	case p.Spec.SetBy == "":
		return "paused: " + p.Spec.Reason, nil
	}
	return fmt.Sprintf("paused by %s: %s", p.Spec.SetBy, p.Spec.Reason), nil
}

// whoIsPaused are all who go on when the switch is turned.
func (r *Reconciler) whoIsPaused(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.whoIsHeldBack(ctx, v1alpha1.ReasonPaused)
}
