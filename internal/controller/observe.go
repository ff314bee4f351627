package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/execution"
	"kubernaut.ai/kubernaut/internal/target"
)

// observe reads everything Decide may know, and nothing else.
func (r *Reconciler) observe(ctx context.Context, ex *v1alpha1.WorkflowExecution) (execution.Snapshot, error) {
	s := execution.Snapshot{Now: r.Now(), Policy: r.Policy, Execution: ex, Run: execution.Run{State: execution.RunAbsent}}
	if settled(ex) {
		return s, nil
	}
	if err := r.observeTarget(ctx, &s); err != nil {
		return s, err
	}
	if err := r.observeRecord(ctx, &s, engine.Cached); err != nil {
		return s, err
	}
	if execution.Ended(ex) && !s.Holds() { // that nothing is held is only believed past the cache
		if err := r.observeRecord(ctx, &s, engine.Fresh); err != nil {
			return s, err
		}
	}
	if err := r.observeWorkflow(ctx, &s); err != nil {
		return s, err
	}
	if s.Holds() || execution.Ended(ex) && ex.Status.PipelineRunRef != nil {
		return s, r.observeRun(ctx, &s)
	}
	if err := r.observeGate(ctx, &s); err != nil {
		return s, err
	}
	return s, r.observeQueue(ctx, &s)
}

// settled: it has ended and owes nothing.
func settled(ex *v1alpha1.WorkflowExecution) bool {
	return execution.Ended(ex) && !slices.Contains(ex.Finalizers, v1alpha1.ExecutionFinalizer)
}

func (r *Reconciler) observeTarget(_ context.Context, s *execution.Snapshot) error {
	if t := s.Execution.Status.Target; t != nil {
		s.Target.Key, s.Target.Record = t.Key, t.Record
		return nil
	}
	key, err := target.Canonical(r.Kinds, s.Execution.Spec.TargetResource)
	if invalid, ok := errors.AsType[*target.Invalid](err); ok {
		s.Target.Problem = &execution.Problem{Rule: "invalid-target", Reason: v1alpha1.FailureConfigurationError, Message: invalid.Message}
		return nil
	}
	s.Target.Key, s.Target.Record = key, target.RecordName(key)
	return err
}

func (r *Reconciler) observeRecord(ctx context.Context, s *execution.Snapshot, how engine.Freshness) error {
	s.Target.Fresh = bool(how)
	if s.Target.Key == "" {
		s.Target.Fresh = true // there is no record to be out of date
		return nil
	}
	get := r.Targets.Get
	if how == engine.Fresh {
		get = r.Targets.GetFresh
	}
	rt, err := get(ctx, s.Target.Key)
	if err != nil {
		return err
	}
	s.Target.Object, s.Target.Status = rt, v1alpha1.RemediationTargetStatus{}
	if rt != nil {
		s.Target.Status = rt.Status
	}
	return nil
}

// observeRun reads the run, past the caches wherever something is concluded from
// what is not there.
func (r *Reconciler) observeRun(ctx context.Context, s *execution.Snapshot) error {
	name := engineOf(s)
	defer func() { s.Run.Engine = name }()
	e, err := r.Engines.Get(name)
	if err != nil {
		s.Run = execution.Run{Unasked: err.Error()}
		return nil
	}
	ref := engine.RefFor(s.Execution)
	ended := execution.Ended(s.Execution)
	s.Run, err = e.Observe(ctx, ref, engine.Freshness(ended && s.Holds()))
	if err != nil {
		return err
	}
	if !s.Run.Fresh && !ended && needsFresh(s) {
		if s.Run, err = e.Observe(ctx, ref, engine.Fresh); err != nil {
			return err
		}
	}
	if s.Run.State == execution.RunAbsent && s.Holds() && !ended { // about to start it, or to call it lost
		if err := r.observeRecord(ctx, s, engine.Fresh); err != nil {
			return err
		}
	}
	if w, ok := e.(engine.Witness); ok && !ended && fails(s) {
		s.Evidence = w.Evidence(ctx, ref)
	}
	return r.observeSecrets(ctx, s)
}

// fails says whether the run has ended badly, or was taken away before its end and
// nothing of it goes on.
func fails(s *execution.Snapshot) bool {
	r := s.Run
	absent := r.State == execution.RunAbsent && s.Execution.Status.PipelineRunRef != nil
	deleted := r.State == execution.RunActive && r.Deleting
	return (absent || deleted) && len(r.Alive) == 0 || r.State == execution.RunFinished && !r.Succeeded
}

// observeSecrets reads the values that may appear nowhere, where text of the run
// is about to be kept.
func (r *Reconciler) observeSecrets(ctx context.Context, s *execution.Snapshot) error {
	s.Secrets = append(s.Secrets, secretValues(s)...)
	if s.Run.State != execution.RunFinished && !fails(s) || execution.Ended(s.Execution) {
		return nil
	}
	for _, name := range s.Execution.Spec.SecretRefs {
		var secret corev1.Secret
		err := r.Reader.Get(ctx, types.NamespacedName{Namespace: v1alpha1.WorkflowNamespace, Name: name}, &secret)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("reading Secret %s/%s, to keep its values out of what is told: %w", v1alpha1.WorkflowNamespace, name, err)
		}
		for _, value := range secret.Data {
			s.Secrets = append(s.Secrets, string(value))
		}
	}
	return nil
}

// secretValues are those of the parameters, except where the workflow declares one
// and does not call it secret: while nobody knows what it declares, all are.
func secretValues(s *execution.Snapshot) []string {
	shown := map[string]bool{}
	if w := s.Workflow.Resolved; w != nil {
		for _, p := range w.Parameters {
			shown[p.Name] = !p.Secret
		}
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s.Execution.Spec.Parameters)) {
		if !shown[name] {
			all = append(all, s.Execution.Spec.Parameters[name])
		}
	}
	return all
}

func needsFresh(s *execution.Snapshot) bool {
	r := s.Run
	failed := r.State == execution.RunFinished && !r.Succeeded
	forgotten := s.Execution.Status.UserCodeStarted && !r.CodeStarted
	return failed || r.Deleting || forgotten
}

// observeWorkflow finds out what the workflow reference means, and whether what
// the run needs is there.
func (r *Reconciler) observeWorkflow(ctx context.Context, s *execution.Snapshot) error {
	ex := s.Execution
	if ex.Status.Workflow != nil {
		s.Workflow.Resolved = ex.Status.Workflow
		return nil
	}
	if execution.Ended(ex) && ex.Status.PipelineRunRef == nil {
		return nil
	}
	s.Workflow = r.Library.Resolve(ctx, ex.Spec.WorkflowRef)
	if s.Workflow.Resolved == nil || s.Workflow.Problem != nil || s.Holds() {
		return nil
	}
	if _, err := r.Engines.Get(s.Workflow.Resolved.Engine); err != nil {
		s.Workflow.Problem = &execution.Problem{Rule: "engine-absent", Reason: v1alpha1.FailureConfigurationError,
			Message: fmt.Sprintf("workflow %s@%s cannot run: %v", ex.Spec.WorkflowRef.WorkflowID, ex.Spec.WorkflowRef.Version, err)}
		return nil
	}
	return r.observeReferences(ctx, s)
}

func (r *Reconciler) observeReferences(ctx context.Context, s *execution.Snapshot) error {
	ex := s.Execution
	look := func(kind, name string, obj client.Object) error {
		err := r.Reader.Get(ctx, types.NamespacedName{Namespace: v1alpha1.WorkflowNamespace, Name: name}, obj)
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("reading %s %s/%s: %w", kind, v1alpha1.WorkflowNamespace, name, err)
		}
		s.Workflow.References = append(s.Workflow.References, execution.Reference{
			Kind: kind, Name: name, Exists: err == nil, ForWorkflows: obj.GetLabels()[v1alpha1.LabelForWorkflows] == "true",
		})
		return nil
	}
	for _, name := range ex.Spec.SecretRefs {
		if err := look("Secret", name, partial("Secret")); err != nil {
			return err
		}
	}
	for _, name := range ex.Spec.ConfigMapRefs {
		if err := look("ConfigMap", name, partial("ConfigMap")); err != nil {
			return err
		}
	}
	if account := s.Workflow.Resolved.ServiceAccountName; account != v1alpha1.DefaultServiceAccount {
		return look("ServiceAccount", account, partial("ServiceAccount"))
	}
	return nil
}

// partial is an object of the core group of which only the metadata is read.
func partial(kind string) *metav1.PartialObjectMetadata {
	obj := &metav1.PartialObjectMetadata{}
	obj.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return obj
}
