package controller

import (
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// setupOutbox adds what sends the events that deleted executions have left behind.
func setupOutbox(mgr ctrl.Manager, c *Courier) error {
	return ctrl.NewControllerManagedBy(mgr).For(&corev1.ConfigMap{}).Complete(reconcile.AsReconciler(mgr.GetClient(), c))
}

// setupDuties adds what the controller does beside moving executions: it removes old
// ones, and tells how it is.
func setupDuties(mgr ctrl.Manager, r *Reconciler, cfg Config, ports Ports) error {
	keep := cfg.Execution.Keep
	return errors.Join(
		mgr.Add(&Sweeper{
			Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Now: ports.Now,
			Keep: map[v1alpha1.Phase]time.Duration{
				v1alpha1.PhaseCompleted: keep.Completed.Duration, v1alpha1.PhaseFailed: keep.Failed.Duration,
				v1alpha1.PhaseSkipped: keep.Skipped.Duration, v1alpha1.PhaseCancelled: keep.Cancelled.Duration,
			},
		}),
		mgr.AddHealthzCheck("workers", r.pulse.alive),
		ports.Metrics.Register(newCensus(r)),
	)
}
