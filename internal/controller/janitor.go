package controller

import (
	"context"
	"fmt"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/target"
)

// Janitor removes runs that nobody needs any more: those kept long enough for
// their logs to be read, and those that somebody deletes.
type Janitor struct {
	Client    client.Client
	Reader    client.Reader // its reads go past every cache
	Engine    engine.Engine
	Targets   *target.Store
	Now       func() time.Time
	Retention time.Duration // of a finished run
}

// Reconcile removes a run of ours, when nothing is owed for it.
func (j *Janitor) Reconcile(ctx context.Context, pr *pipelinev1.PipelineRun) (ctrl.Result, error) {
	uid := types.UID(pr.Labels[v1alpha1.LabelExecutionUID])
	if uid == "" || !pr.IsDone() && pr.DeletionTimestamp == nil {
		return ctrl.Result{}, nil
	}
	if left := j.left(pr); left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	owed, err := j.owed(ctx, pr, uid)
	if err != nil {
		return ctrl.Result{}, err
	}
	if owed { // whoever it is owed to wakes us by what it does to the run; this is for a wake-up that was lost
		return ctrl.Result{RequeueAfter: time.Minute}, nil
	}
	if pr.DeletionTimestamp != nil {
		return ctrl.Result{}, j.Engine.LetGo(ctx, engine.Ref{Name: pr.Name, Execution: uid})
	}
	ctrl.LoggerFrom(ctx).Info("Run is removed, its retention is over")
	guard := client.Preconditions{UID: &pr.UID}
	return ctrl.Result{}, client.IgnoreNotFound(j.Client.Delete(ctx, pr, guard))
}

// left is how long a finished run is still kept.
func (j *Janitor) left(pr *pipelinev1.PipelineRun) time.Duration {
	if pr.DeletionTimestamp != nil || pr.Status.CompletionTime == nil {
		return 0
	}
	return pr.Status.CompletionTime.Add(j.Retention).Sub(j.Now())
}

// owed says whether the run's execution still has to learn something from it, or
// still holds its target.
func (j *Janitor) owed(ctx context.Context, pr *pipelinev1.PipelineRun, uid types.UID) (bool, error) {
	name, ok := executionOf(pr)
	if !ok {
		return false, fmt.Errorf("PipelineRun %s carries no annotation %s", pr.Name, v1alpha1.AnnotationExecution)
	}
	var ex v1alpha1.WorkflowExecution
	err := j.Reader.Get(ctx, name, &ex)
	if err == nil && ex.UID == uid && !settled(&ex) {
		return true, nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("reading execution %s: %w", name, err)
	}
	key := pr.Annotations[v1alpha1.AnnotationTarget]
	rt, err := j.Targets.GetFresh(ctx, key)
	if err != nil || rt == nil {
		return false, err
	}
	return rt.Status.Holder != nil && rt.Status.Holder.UID == uid, nil
}
