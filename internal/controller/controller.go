// Package controller is the shell around package execution: it observes the
// cluster, lets Decide decide, acts and records.
//
//	observe ──► execution.Decide ──► act      one change outside the status, or
//	                            └──► record   audit events, then one write of it
//
// It is the only writer of the status of executions and of targets.
package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/execution"
	"kubernaut.ai/kubernaut/internal/target"
)

// Catalog is where workflows are looked up. *datastorage.Client is one.
type Catalog interface {
	WorkflowVersion(ctx context.Context, name, version string) (datastorage.Workflow, error)
}

// Audit is where events are sent. Record returns when the event is safe.
// *datastorage.Client is one.
type Audit interface {
	Record(ctx context.Context, e datastorage.AuditEvent) (datastorage.Receipt, error)
}

// Reconciler moves executions, one step at a time.
type Reconciler struct {
	Client  client.Client // its reads may be stale
	Reader  client.Reader // its reads go past every cache
	Targets *target.Store
	Engines *engine.Set
	Kinds   meta.RESTMapper
	Library *Library
	Audit   Audit
	Notify  Notifier
	Policy  execution.Policy
	Slots   *Slots // nil: as many may run at a time as want to
	// PullSecret is the credential that runs hand to the bundles resolver.
	PullSecret string
	Now        func() time.Time

	behind behind
	pulse  *pulse
}

// stale is how soon an execution is looked at again when a write met a newer
// version: nothing has happened.
const stale = 50 * time.Millisecond

// Reconcile moves one execution one step. Everything it knows it reads in
// observe; everything it chooses is in execution.Decide.
func (r *Reconciler) Reconcile(ctx context.Context, ex *v1alpha1.WorkflowExecution) (ctrl.Result, error) {
	if r.behind.is(ex) { // what was written wakes us when the cache has it
		return ctrl.Result{RequeueAfter: behindRecheck}, nil
	}
	s, err := r.observe(ctx, ex)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("observing: %w", err)
	}
	d := execution.Decide(s)
	if d.Concludes() && !s.Target.Fresh {
		if err := r.observeRecord(ctx, &s, engine.Fresh); err != nil {
			return ctrl.Result{}, fmt.Errorf("observing: %w", err)
		}
		d = execution.Decide(s)
	}
	for d.Do != execution.Nothing {
		again, err := r.act(ctx, &s, d)
		if err != nil || !again {
			return result(ctx, s, d, err)
		}
		if s.Run.Refused == nil { // else nothing has changed
			decided(ctx, s, d).Info("Execution moves on", "do", d.Do)
		}
		d = execution.Decide(s)
	}
	err = r.record(ctx, s, &d)
	return result(ctx, s, d, err)
}

// decided is the log of what follows from a decision.
func decided(ctx context.Context, s execution.Snapshot, d execution.Decision) logr.Logger {
	return ctrl.LoggerFrom(ctx).WithValues("rule", d.Rule, "target", s.Execution.Spec.TargetResource)
}

// result logs what was decided and says when to look again.
func result(ctx context.Context, s execution.Snapshot, d execution.Decision, err error) (ctrl.Result, error) {
	log := decided(ctx, s, d)
	switch {
	case apierrors.IsConflict(err):
		log.V(1).Info("Somebody wrote first", "conflict", err.Error())
		return ctrl.Result{RequeueAfter: stale}, nil
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("rule %s: %w", d.Rule, err)
	case d.Do != execution.Nothing:
		log.Info("Execution moves on", "do", d.Do)
	case d.Ending != nil:
		log.Info("Execution has ended", "phase", d.Ending.Phase, "reason", d.Ending.Reason)
	default:
		log.V(1).Info("Execution waits", "recheck", d.Recheck)
	}
	return ctrl.Result{RequeueAfter: d.Recheck}, nil
}

// act changes the one thing that was decided. It returns true when the answer is
// a new fact, noted in s, on which to decide again.
func (r *Reconciler) act(ctx context.Context, s *execution.Snapshot, d execution.Decision) (again bool, err error) {
	ex := s.Execution
	switch d.Do {
	case execution.AddFinalizer, execution.RemoveFinalizer:
		return false, r.setFinalizer(ctx, ex, d.Do == execution.AddFinalizer)
	case execution.Take:
		return true, r.take(ctx, s)
	case execution.HandOver:
		return false, r.handOver(ctx, ex)
	case execution.Release:
		return true, r.changed(s)(r.Targets.Release(ctx, s.Target.Object, target.OutcomeOf(ex)))
	}
	e, err := r.Engines.Get(engineOf(s))
	if err != nil {
		return false, err
	}
	switch d.Do {
	case execution.Start:
		if err := r.isCurrent(ctx, ex); err != nil {
			return false, err
		}
		err = e.Start(ctx, r.spec(s))
	case execution.Occupy:
		err = e.Occupy(ctx, r.spec(s))
	case execution.Cancel:
		err = e.Cancel(ctx, engine.RefFor(ex), d.Stop)
	case execution.LetRunGo:
		err = e.LetGo(ctx, engine.RefFor(ex))
	default:
		err = errors.New("unknown action " + string(d.Do))
	}
	if refused, ok := errors.AsType[*engine.Refused](err); ok {
		s.Run.Refused = &refused.Refusal
		return true, nil
	}
	return false, err
}

func (r *Reconciler) take(ctx context.Context, s *execution.Snapshot) error {
	if err := r.isCurrent(ctx, s.Execution); err != nil {
		return err
	}
	if err := r.Slots.Take(ctx, s.Execution); err != nil {
		return err
	}
	err := r.changed(s)(r.Targets.Take(ctx, s.Target.Key, s.Target.Object, r.holder(s)))
	if apierrors.IsConflict(err) { // after any other error it may hold it
		r.Slots.GiveBack(s.Execution)
	}
	return err
}

// changed notes in s what the API server has made of the record of its target.
func (r *Reconciler) changed(s *execution.Snapshot) func(*v1alpha1.RemediationTarget, error) error {
	return func(rt *v1alpha1.RemediationTarget, err error) error {
		if err == nil {
			s.Target.Object, s.Target.Status, s.Target.Fresh = rt, rt.Status, true
		}
		return err
	}
}

// isCurrent is a Conflict when ex is not what the API server has: nobody takes a
// target for an execution that has ended or is gone, and nobody starts the run of
// one that was cancelled or is about to end.
func (r *Reconciler) isCurrent(ctx context.Context, ex *v1alpha1.WorkflowExecution) error {
	var now v1alpha1.WorkflowExecution
	err := r.Reader.Get(ctx, client.ObjectKeyFromObject(ex), &now)
	if err == nil && now.ResourceVersion == ex.ResourceVersion {
		return nil
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading the execution past the cache: %w", err)
	}
	return apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("workflowexecutions").GroupResource(), ex.Name, errors.New("it was read from a cache that is behind"))
}

// setFinalizer puts our finalizer on an execution, or takes it off and marks the
// execution as settled.
func (r *Reconciler) setFinalizer(ctx context.Context, ex *v1alpha1.WorkflowExecution, on bool) error {
	next := ex.DeepCopy()
	if on {
		controllerutil.AddFinalizer(next, v1alpha1.ExecutionFinalizer)
	} else {
		controllerutil.RemoveFinalizer(next, v1alpha1.ExecutionFinalizer)
		settle(next)
	}
	guard := client.MergeFromWithOptions(ex, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, next, guard); err != nil {
		return client.IgnoreNotFound(err)
	}
	r.behind.wrote(next)
	return nil
}

// settle marks an execution that owes nothing any more.
func settle(ex *v1alpha1.WorkflowExecution) {
	metav1.SetMetaDataLabel(&ex.ObjectMeta, v1alpha1.LabelSettled, string(ex.Status.Phase))
	if at := ex.Status.CompletionTime; at != nil {
		metav1.SetMetaDataAnnotation(&ex.ObjectMeta, v1alpha1.AnnotationCompletedAt, at.UTC().Format(time.RFC3339))
	}
}

func (r *Reconciler) holder(s *execution.Snapshot) v1alpha1.Holder {
	ex := s.Execution
	return v1alpha1.Holder{
		UID: ex.UID, Namespace: ex.Namespace, Name: ex.Name,
		WorkflowID: ex.Spec.WorkflowRef.WorkflowID, Version: ex.Spec.WorkflowRef.Version,
		CorrelationID: ex.CorrelationID(),
		Engine:        s.Workflow.Resolved.Engine, RunName: engine.NameFor(ex),
		Since: metav1.NewMicroTime(s.Now),
	}
}

// engineOf names the engine that carries out the run: as the record of the target
// says, else as the status says.
func engineOf(s *execution.Snapshot) string {
	if s.Holds() {
		return s.Target.Status.Holder.Engine
	}
	return s.Execution.Engine()
}

// spec is what an engine needs to know. Occupying a name needs no workflow.
func (r *Reconciler) spec(s *execution.Snapshot) engine.Spec {
	ex := s.Execution
	spec := engine.Spec{
		Ref:           engine.RefFor(ex),
		ExecutionName: ex.Namespace + "/" + ex.Name,
		WorkflowID:    ex.Spec.WorkflowRef.WorkflowID, Version: ex.Spec.WorkflowRef.Version,
		Target: s.Target.Key, Record: s.Target.Record,
		CorrelationID: ex.CorrelationID(), FencingToken: s.Target.Status.FencingToken,
		PullSecret: r.PullSecret, Parameters: parameters(s),
		Secrets: ex.Spec.SecretRefs, ConfigMaps: ex.Spec.ConfigMapRefs,
		Timeout: execution.Timeout(ex, r.Policy),
	}
	if w := s.Workflow.Resolved; w != nil {
		spec.Image, spec.ServiceAccount = w.Image, w.ServiceAccountName
	}
	return spec
}

// parameters are those that were given, and the defaults of the others. The default
// of a secret one is known to the workflow alone.
func parameters(s *execution.Snapshot) map[string]string {
	all := map[string]string{}
	if w := s.Workflow.Resolved; w != nil {
		for _, p := range w.Parameters {
			if p.Default != nil {
				all[p.Name] = *p.Default
			}
		}
	}
	maps.Copy(all, s.Execution.Spec.Parameters)
	return all
}
