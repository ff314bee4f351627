package controller

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/target"
)

// Janitor removes runs of one engine that nobody needs any more: those kept long
// enough for their logs to be read, and those that somebody deletes.
type Janitor[T client.Object] struct {
	Client client.Client
	Reader client.Reader // its reads go past every cache
	Engine engine.Engine
	// Ended is when a run ended, if it has.
	Ended func(run T) (at time.Time, ended bool)
	// Tidy lets parts of a run go that its engine has kept until nothing is owed any
	// more; nil: it keeps none.
	Tidy      func(ctx context.Context, ref engine.Ref) error
	Targets   *target.Store
	Now       func() time.Time
	Retention time.Duration // of a finished run
}

// owedRecheck is how soon a run that is still owed something is looked at again, in
// case the wake-up was lost.
const owedRecheck = time.Minute

// Reconcile removes a run of ours, when nothing is owed for it.
func (j *Janitor[T]) Reconcile(ctx context.Context, run T) (ctrl.Result, error) {
	uid := types.UID(run.GetLabels()[v1alpha1.LabelExecutionUID])
	at, ended := j.Ended(run)
	deleting := run.GetDeletionTimestamp() != nil
	if uid == "" || !ended && !deleting {
		return ctrl.Result{}, nil
	}
	left := j.left(at)
	if left > 0 && !deleting && j.Tidy == nil {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	owes, err := owed(ctx, j.Reader, j.Targets, run)
	if err != nil {
		return ctrl.Result{}, err
	}
	if owes {
		return ctrl.Result{RequeueAfter: owedRecheck}, nil
	}
	ref := engine.Ref{Name: run.GetName(), Execution: uid}
	if deleting {
		return ctrl.Result{}, j.Engine.LetGo(ctx, ref)
	}
	if left > 0 {
		if err := j.Tidy(ctx, ref); err != nil {
			return ctrl.Result{}, err
		}
		return ctrl.Result{RequeueAfter: left}, nil
	}
	ctrl.LoggerFrom(ctx).Info("Run is removed, its retention is over")
	its := run.GetUID()
	return ctrl.Result{}, client.IgnoreNotFound(j.Client.Delete(ctx, run,
		client.Preconditions{UID: &its}, client.PropagationPolicy(metav1.DeletePropagationBackground)))
}

// left is how long a run that ended at a time is still kept.
func (j *Janitor[T]) left(at time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return at.Add(j.Retention).Sub(j.Now())
}

// owed says whether the execution of a run, or of a part of one, still has to learn
// something from it, or still holds its target. Both are read past every cache.
func owed(ctx context.Context, fresh client.Reader, targets *target.Store, run client.Object) (bool, error) {
	name, ok := executionOf(run)
	key := run.GetAnnotations()[v1alpha1.AnnotationTarget]
	if !ok || key == "" {
		return false, fmt.Errorf("%s carries no annotations %s and %s", run.GetName(), v1alpha1.AnnotationExecution, v1alpha1.AnnotationTarget)
	}
	uid := types.UID(run.GetLabels()[v1alpha1.LabelExecutionUID])
	var ex v1alpha1.WorkflowExecution
	err := fresh.Get(ctx, name, &ex)
	if err == nil && ex.UID == uid && !settled(&ex) {
		return true, nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("reading execution %s: %w", name, err)
	}
	rt, err := targets.GetFresh(ctx, key)
	if err != nil || rt == nil {
		return false, err
	}
	return rt.Status.Holder != nil && rt.Status.Holder.UID == uid, nil
}
