package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/engine/pod"
	"kubernaut.ai/kubernaut/internal/execution"
	"kubernaut.ai/kubernaut/internal/target"
)

// resync is how often everything is looked at again, in case a watch has lost an
// event.
const resync = 10 * time.Minute

// indexWaitsFor finds executions by the canonical key of the target they wait for.
const indexWaitsFor = "waits-for"

// Scheme knows every object the controller reads or writes.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, pipelinev1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err) // the types of one build cannot contradict one another
		}
	}
	return s
}

// CacheOptions bound the caches to what the controller needs: the executions that
// have not ended or still owe something, the records, and the runs that are its own
// with their parts.
func CacheOptions() cache.Options {
	every := resync
	in := map[string]cache.Config{v1alpha1.WorkflowNamespace: {}}
	runs := cache.ByObject{Namespaces: in, Label: has(v1alpha1.LabelExecutionUID, selection.Exists)}
	warnings := cache.ByObject{Namespaces: in, Field: fields.OneTermEqualSelector("type", corev1.EventTypeWarning)}
	return cache.Options{
		SyncPeriod: &every,
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.WorkflowExecution{}: {Label: has(v1alpha1.LabelSettled, selection.DoesNotExist)},
			&v1alpha1.RemediationTarget{}: {Namespaces: map[string]cache.Config{v1alpha1.SystemNamespace: {}}},
			&v1alpha1.Pause{}:             {Namespaces: map[string]cache.Config{v1alpha1.SystemNamespace: {}}},
			&corev1.ConfigMap{}: {
				Namespaces: map[string]cache.Config{v1alpha1.SystemNamespace: {}},
				Label:      has(v1alpha1.LabelOutbox, selection.Exists),
			},
			&pipelinev1.PipelineRun{}: runs,
			&pipelinev1.TaskRun{}:     runs,
			&batchv1.Job{}:            runs,
			&corev1.Event{}:           warnings,
			&corev1.Pod{}:             runs,
		},
	}
}

func has(label string, how selection.Operator) labels.Selector {
	r, err := labels.NewRequirement(label, how, nil)
	if err != nil {
		panic(err) // the labels are constants
	}
	return labels.NewSelector().Add(*r)
}

// Ports are what the controller needs beside the cluster.
type Ports struct {
	Catalog Catalog
	Audit   Audit
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Metrics is where metrics are registered. Default: a registry that nobody reads.
	Metrics prometheus.Registerer
}

// complete adds what was not given, and keeps a Data Storage that does not answer from
// holding everybody up.
func (p Ports) complete() Ports {
	if p.Now == nil {
		p.Now = time.Now
	}
	if p.Metrics == nil {
		p.Metrics = prometheus.NewRegistry()
	}
	p.Audit = fusedAudit{p.Audit, &fuse{now: p.Now}}
	p.Catalog = fusedCatalog{p.Catalog, &fuse{now: p.Now}}
	return p
}

// Setup adds the controllers to a manager.
func Setup(ctx context.Context, mgr ctrl.Manager, cfg Config, ports Ports) error {
	ports = ports.complete()
	watched := []client.Object{&v1alpha1.WorkflowExecution{}, &v1alpha1.RemediationTarget{}, &v1alpha1.Pause{}, &corev1.ConfigMap{}, &corev1.Pod{}, &corev1.Event{}}
	if err := errors.Join(Index(ctx, mgr.GetFieldIndexer()), warm(ctx, mgr, watched...)); err != nil {
		return err
	}
	e := cfg.Execution
	store := &target.Store{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Rules: target.Rules{
		Cooldown: e.Cooldown.Duration, BackoffBase: e.BackoffBase.Duration, BackoffMax: e.BackoffMax.Duration, MaxFailures: e.MaxFailures,
	}}
	engines := engine.SetOf(map[string]engine.Engine{})
	counted := NewCounted(Events{mgr.GetEventRecorder("kubernaut")}, ports.Metrics)
	r := &Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Targets: store, Engines: engines, Kinds: mgr.GetRESTMapper(),
		Library: &Library{Catalog: ports.Catalog, AllowUnregistered: e.AllowUnregistered, Now: ports.Now},
		Audit:   ports.Audit, Notify: counted, Policy: policy(cfg), Now: ports.Now,
		Slots: &Slots{Client: mgr.GetClient(), All: e.MaxRunning, PerNamespace: e.MaxRunningPerNamespace, Now: ports.Now},
		pulse: newPulse(ports.Now),
	}
	if e.PullSecret != "none" {
		r.PullSecret = e.PullSecret
	}
	latch := &pod.Latch{}
	executions, err := setupExecutions(mgr, r, latch, e.Workers)
	if err != nil {
		return err
	}
	records, err := setupRecords(mgr, &Keeper{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Targets: store, Engines: engines,
		Audit: ports.Audit, Conflicts: counted.conflicts, Now: ports.Now, Keep: 24 * time.Hour,
	})
	if err != nil {
		return err
	}
	outbox := setupOutbox(mgr, &Courier{Client: mgr.GetClient(), Audit: ports.Audit, Conflicts: counted.conflicts})
	if err := errors.Join(outbox, setupDuties(mgr, r, cfg, ports)); err != nil {
		return err
	}
	f := &fleet{mgr: mgr, latch: latch, engines: engines, executions: executions, records: records, targets: store, now: ports.Now, retention: e.Retention.Duration}
	return f.setup(ctx)
}

// Index tells a cache by what the controllers look up.
func Index(ctx context.Context, cache client.FieldIndexer) error {
	for field, extract := range map[string]client.IndexerFunc{indexWaitsFor: waitsFor, indexComesTo: comesTo, indexHeldBack: heldBack} {
		if err := cache.IndexField(ctx, &v1alpha1.WorkflowExecution{}, field, extract); err != nil {
			return fmt.Errorf("indexing executions: %w", err)
		}
	}
	if err := cache.IndexField(ctx, &corev1.Event{}, pod.IndexInvolved, pod.Involved); err != nil {
		return fmt.Errorf("indexing events: %w", err)
	}
	return nil
}

func policy(cfg Config) execution.Policy {
	e := cfg.Execution
	return execution.Policy{
		Timeout: e.Timeout.Duration, MaxWait: e.MaxWait.Duration, StopGrace: e.StopGrace.Duration,
		AllowUnregistered: e.AllowUnregistered, Paused: e.Paused, AuditStrict: cfg.Audit.Strict,
		MaxRunning: e.MaxRunning, MaxRunningPerNamespace: e.MaxRunningPerNamespace,
	}
}

func setupExecutions(mgr ctrl.Manager, r *Reconciler, latch *pod.Latch, workers int) (controller.Controller, error) {
	return ctrl.NewControllerManagedBy(mgr).For(&v1alpha1.WorkflowExecution{}).
		Watches(&v1alpha1.WorkflowExecution{}, handler.EnqueueRequestsFromMapFunc(r.whoWaitsBehind)).
		Watches(&v1alpha1.RemediationTarget{}, handler.EnqueueRequestsFromMapFunc(r.whoCares)).
		Watches(&v1alpha1.Pause{}, handler.EnqueueRequestsFromMapFunc(r.whoIsPaused)).
		Watches(&corev1.Pod{}, newLatched(latch, func(ctx context.Context, pod client.Object) (bool, error) { return owed(ctx, r.Reader, r.Targets, pod) })).
		Watches(&corev1.Event{}, handler.EnqueueRequestsFromMapFunc(r.whoIsWarned)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Build(r.pulse.watch(reconcile.AsReconciler(mgr.GetClient(), r)))
}

func setupRecords(mgr ctrl.Manager, k *Keeper) (controller.Controller, error) {
	return ctrl.NewControllerManagedBy(mgr).For(&v1alpha1.RemediationTarget{}).
		Watches(&v1alpha1.WorkflowExecution{}, handler.EnqueueRequestsFromMapFunc(recordOf(mgr.GetRESTMapper())), builder.WithPredicates(leaving)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4}).
		Build(reconcile.AsReconciler(mgr.GetClient(), k))
}

// waitsFor indexes the executions that stand in a queue.
func waitsFor(obj client.Object) []string {
	ex, ok := obj.(*v1alpha1.WorkflowExecution)
	if !ok || ex.Status.Target == nil || ex.Status.Target.LockedAt != nil || ex.Status.Waiting == nil || !queues(ex) {
		return nil
	}
	if !standsInQueue[ex.Status.Waiting.Reason] {
		return nil
	}
	return []string{ex.Status.Target.Key}
}

// standsInQueue are the reasons to wait that keep a place in the queue: whoever
// waits for the catalog does not know yet whether it may run at all.
var standsInQueue = map[string]bool{
	string(v1alpha1.SkipResourceBusy):       true,
	string(v1alpha1.SkipBackoff):            true,
	string(v1alpha1.SkipRecentlyRemediated): true,
	v1alpha1.ReasonPaused:                   true,
	v1alpha1.ReasonLimitReached:             true,
}

// queues says whether an execution still wants its turn.
func queues(ex *v1alpha1.WorkflowExecution) bool {
	return ex.Spec.OnBusy == v1alpha1.OnBusyWait && ex.Spec.Cancel == nil && ex.DeletionTimestamp == nil && !execution.Ended(ex)
}

// whoRuns is the execution of a run, or of a part of one.
func whoRuns(_ context.Context, obj client.Object) []reconcile.Request {
	if name, ok := executionOf(obj); ok {
		return []reconcile.Request{{NamespacedName: name}}
	}
	return nil
}

// whoIsWarned is the execution of a run, or of a part of one, that the cluster has
// warned of.
func (r *Reconciler) whoIsWarned(ctx context.Context, obj client.Object) []reconcile.Request {
	e, ok := obj.(*corev1.Event)
	if !ok {
		return nil
	}
	var about client.Object
	switch e.InvolvedObject.Kind {
	case "Pod":
		about = &corev1.Pod{}
	case "Job":
		about = &batchv1.Job{}
	default:
		return nil
	}
	key := types.NamespacedName{Namespace: e.InvolvedObject.Namespace, Name: e.InvolvedObject.Name}
	if err := r.Client.Get(ctx, key, about); err != nil { // it is none of ours, or gone
		return nil
	}
	return whoRuns(ctx, about)
}

// whoCares are the holder of a target and everybody who waits for it.
func (r *Reconciler) whoCares(ctx context.Context, obj client.Object) []reconcile.Request {
	rt, ok := obj.(*v1alpha1.RemediationTarget)
	if !ok {
		return nil
	}
	all := r.waiters(ctx, rt.Spec.Target)
	switch h := rt.Status.Holder; {
	case h != nil:
		all = append(all, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: h.Namespace, Name: h.Name}})
	case r.Slots.limited(): // there may be a place for somebody else
		held := r.whoIsHeldBack(ctx, v1alpha1.ReasonLimitReached)
		all = append(all, held[:min(len(held), moveUp)]...)
	}
	return all
}

// whoWaitsBehind are those who may have moved up because an execution has left
// the queue.
func (r *Reconciler) whoWaitsBehind(ctx context.Context, obj client.Object) []reconcile.Request {
	ex, ok := obj.(*v1alpha1.WorkflowExecution)
	if !ok || ex.Spec.OnBusy != v1alpha1.OnBusyWait || ex.Status.Target == nil || queues(ex) {
		return nil
	}
	return r.waiters(ctx, ex.Status.Target.Key)
}

func (r *Reconciler) waiters(ctx context.Context, key string) []reconcile.Request {
	var waiting v1alpha1.WorkflowExecutionList
	if err := r.Client.List(ctx, &waiting, client.MatchingFields{indexWaitsFor: key}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Waiters of a target cannot be listed; they look again by themselves", "target", key)
		return nil
	}
	var all []reconcile.Request
	for i := range waiting.Items {
		all = append(all, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&waiting.Items[i])})
	}
	return all
}

// leaving are the executions that are being deleted, that are gone, and that are no
// longer watched because they, or somebody, say that they owe nothing.
var leaving = predicate.Funcs{
	CreateFunc: func(e event.CreateEvent) bool { return e.Object.GetDeletionTimestamp() != nil },
	UpdateFunc: func(e event.UpdateEvent) bool { return e.ObjectNew.GetDeletionTimestamp() != nil },
}

// recordOf is the record of an execution's target, which may lose its holder when
// the execution goes. A target may be taken before the status says which it is.
func recordOf(kinds meta.RESTMapper) handler.MapFunc {
	return func(_ context.Context, obj client.Object) []reconcile.Request {
		ex, ok := obj.(*v1alpha1.WorkflowExecution)
		if !ok {
			return nil
		}
		if ex.Status.Target != nil {
			return record(ex.Status.Target.Key)
		}
		key, err := target.Canonical(kinds, ex.Spec.TargetResource)
		if err != nil { // then nothing was taken for it
			return nil
		}
		return record(key)
	}
}

// recordOfRun is the record of the target a run works on.
func recordOfRun(_ context.Context, obj client.Object) []reconcile.Request {
	if key := obj.GetAnnotations()[v1alpha1.AnnotationTarget]; key != "" {
		return record(key)
	}
	return nil
}

func record(key string) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: v1alpha1.SystemNamespace, Name: target.RecordName(key)}}}
}
