package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/execution"
	"kubernaut.ai/kubernaut/internal/target"
)

// Keeper looks after the records of targets: it clears blocks, frees targets
// whose holder has vanished, and removes records that say nothing any more.
type Keeper struct {
	Client  client.Client
	Reader  client.Reader // its reads go past every cache
	Targets *target.Store
	Engines *engine.Set
	Audit   Audit
	// Conflicts of events with what the trail holds under their ids.
	Conflicts prometheus.Counter
	Now       func() time.Time
	// Keep is how long a record that says nothing is kept.
	Keep time.Duration
}

// keeperRecheck is how soon a record that is not at rest is looked at again.
const keeperRecheck = 10 * time.Second

// Reconcile does the first thing that a record asks for.
func (k *Keeper) Reconcile(ctx context.Context, rt *v1alpha1.RemediationTarget) (ctrl.Result, error) {
	for _, duty := range []func(context.Context, *v1alpha1.RemediationTarget) (done bool, err error){
		k.recordClearing, k.clear, k.recover, k.remove,
	} {
		done, err := duty(ctx, rt)
		switch {
		case apierrors.IsConflict(err):
			return ctrl.Result{RequeueAfter: stale}, nil
		case err != nil:
			return ctrl.Result{}, err
		case done:
			return ctrl.Result{RequeueAfter: keeperRecheck}, nil
		}
	}
	return ctrl.Result{}, nil
}

// clear lets a blocked workflow through, when somebody asks and the block stands,
// and takes the wish out of the record when nothing is left to do for it.
func (k *Keeper) clear(ctx context.Context, rt *v1alpha1.RemediationTarget) (bool, error) {
	if rt.Spec.ClearBlock == nil {
		return false, nil
	}
	next, cleared := target.Clear(rt.Status, *rt.Spec.ClearBlock, k.Now())
	if !cleared { // it is done, or no such block stands: the wish is answered
		answered := rt.DeepCopy()
		answered.Spec.ClearBlock = nil
		guard := client.MergeFromWithOptions(rt, client.MergeFromWithOptimisticLock{})
		return true, client.IgnoreNotFound(k.Client.Patch(ctx, answered, guard))
	}
	ctrl.LoggerFrom(ctx).Info("Block is cleared", "target", rt.Spec.Target, "workflow", rt.Spec.ClearBlock.Workflow, "by", rt.Spec.ClearBlock.ClearedBy)
	return true, k.Targets.Write(ctx, rt, next)
}

// recordClearing sends the event of the last clearing until it is acknowledged, or
// the trail holds another under its id; only then may another be applied.
func (k *Keeper) recordClearing(ctx context.Context, rt *v1alpha1.RemediationTarget) (bool, error) {
	c := rt.Status.LastCleared
	if c == nil || c.Recorded {
		return false, nil
	}
	e, err := execution.Clearing(rt.Name, rt.Spec.Target, *c)
	if err != nil {
		return false, err
	}
	sending, cancel := context.WithTimeout(ctx, auditPatience)
	defer cancel()
	log := ctrl.LoggerFrom(ctx).WithValues("target", rt.Spec.Target)
	_, answer := k.Audit.Record(sending, e)
	conflict := errors.Is(answer, datastorage.ErrConflict)
	if answer != nil && !conflict {
		log.Info("Clearing is not yet in the audit trail", "because", firstLine(answer))
		return true, nil
	}
	next := *rt.Status.DeepCopy()
	next.LastCleared.Recorded = true
	if err := k.Targets.Write(ctx, rt, next); err != nil {
		return true, err
	}
	if conflict {
		log.Info("The audit trail holds other content under the id of a clearing; it is not sent again", "block", c.BlockID, "because", firstLine(answer))
		k.Conflicts.Inc()
	}
	return true, nil
}

// recover frees a target whose holder has vanished, or has ended and was forgotten
// because somebody took its finalizer off: its run is stopped, its outcome is
// noted where it can be known, and a block is set where it cannot.
func (k *Keeper) recover(ctx context.Context, rt *v1alpha1.RemediationTarget) (bool, error) {
	h := rt.Status.Holder
	if h == nil {
		return false, nil
	}
	ex, err := k.holderOf(ctx, *h)
	if err != nil {
		return false, err
	}
	if ex != nil && !settled(ex) {
		return false, k.uncover(ctx, ex)
	}
	e, err := k.Engines.Get(h.Engine)
	if err != nil {
		return false, fmt.Errorf("the holder of %s has vanished: %w", rt.Spec.Target, err)
	}
	ref := engine.Ref{Name: h.RunName, Execution: h.UID}
	run, err := e.Observe(ctx, ref, engine.Fresh)
	if err != nil {
		return false, err
	}
	d := execution.Abandoned(run, k.Now())
	switch d.Do {
	case execution.Cancel:
		return true, e.Cancel(ctx, ref, d.Stop)
	case execution.Occupy:
		return true, e.Occupy(ctx, engine.Spec{Ref: ref, ExecutionName: h.Namespace + "/" + h.Name, WorkflowID: h.WorkflowID,
			Version: h.Version, Target: rt.Spec.Target, Record: rt.Name, CorrelationID: h.CorrelationID, FencingToken: rt.Status.FencingToken})
	case execution.Release:
		o := outcomeOf(*h, d.Ending, k.Now())
		if ex != nil {
			o = target.OutcomeOf(ex)
		}
		ctrl.LoggerFrom(ctx).Info("Target is freed, its holder has vanished", "target", rt.Spec.Target, "holder", o.Name, "phase", o.Phase, "reason", o.Reason)
		_, err := k.Targets.Release(ctx, rt, o)
		return true, err
	}
	return true, nil
}

// uncover takes the mark of a settled execution off one that is not: somebody has
// put it on, and without a look at it its target would be held for ever.
func (k *Keeper) uncover(ctx context.Context, ex *v1alpha1.WorkflowExecution) error {
	if ex.Labels[v1alpha1.LabelSettled] == "" {
		return nil
	}
	next := ex.DeepCopy()
	delete(next.Labels, v1alpha1.LabelSettled)
	return client.IgnoreNotFound(k.Client.Patch(ctx, next, client.MergeFrom(ex)))
}

func outcomeOf(h v1alpha1.Holder, e *execution.Ending, now time.Time) target.Outcome {
	o := target.Outcome{
		Execution: h.UID, Name: h.Namespace + "/" + h.Name, WorkflowID: h.WorkflowID, CorrelationID: h.CorrelationID,
		Phase: e.Phase, At: e.At,
	}
	if o.At.IsZero() {
		o.At = now
	}
	if e.Failure != nil {
		o.Reason, o.CodeStarted = e.Failure.Reason, e.Failure.WasExecutionFailure
	}
	return o
}

// holderOf is the execution that holds a target; nil when it is gone. That it still
// owes something is taken from the cache, whose loss of it wakes us; that it does
// not, or is gone, is only believed past every cache.
func (k *Keeper) holderOf(ctx context.Context, h v1alpha1.Holder) (*v1alpha1.WorkflowExecution, error) {
	ex, name := &v1alpha1.WorkflowExecution{}, types.NamespacedName{Namespace: h.Namespace, Name: h.Name}
	if err := k.Client.Get(ctx, name, ex); err == nil && ex.UID == h.UID && !settled(ex) {
		return ex, nil
	}
	ex = &v1alpha1.WorkflowExecution{}
	err := k.Reader.Get(ctx, name, ex)
	if err != nil || ex.UID != h.UID {
		return nil, client.IgnoreNotFound(err)
	}
	return ex, nil
}

// remove deletes a record that says nothing any more. One that somebody deletes
// goes as soon as it says nothing.
func (k *Keeper) remove(ctx context.Context, rt *v1alpha1.RemediationTarget) (bool, error) {
	keep := k.Keep
	if rt.DeletionTimestamp != nil {
		keep = 0
	}
	if !target.Silent(rt, k.Now(), keep) {
		return false, nil
	}
	if rt.DeletionTimestamp == nil {
		guard := client.Preconditions{UID: &rt.UID, ResourceVersion: &rt.ResourceVersion}
		return true, client.IgnoreNotFound(k.Client.Delete(ctx, rt, guard))
	}
	next := rt.DeepCopy()
	if !controllerutil.RemoveFinalizer(next, v1alpha1.TargetFinalizer) {
		return false, nil
	}
	guard := client.MergeFromWithOptions(rt, client.MergeFromWithOptimisticLock{})
	return true, client.IgnoreNotFound(k.Client.Patch(ctx, next, guard))
}

// executionOf reads the annotation that names the execution of a run or of a part
// of one.
func executionOf(obj client.Object) (types.NamespacedName, bool) {
	namespace, name, ok := strings.Cut(obj.GetAnnotations()[v1alpha1.AnnotationExecution], "/")
	return types.NamespacedName{Namespace: namespace, Name: name}, ok
}
