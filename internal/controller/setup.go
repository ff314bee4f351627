package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/engine/tekton"
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

// CacheOptions bound the caches to what the controller needs: the records, and
// the runs that are its own with their parts.
func CacheOptions() cache.Options {
	every := resync
	ours, err := labels.NewRequirement(v1alpha1.LabelExecutionUID, selection.Exists, nil)
	if err != nil {
		panic(err) // the key is a constant
	}
	runs := cache.ByObject{
		Namespaces: map[string]cache.Config{v1alpha1.WorkflowNamespace: {}},
		Label:      labels.NewSelector().Add(*ours),
	}
	return cache.Options{
		SyncPeriod: &every,
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.RemediationTarget{}: {Namespaces: map[string]cache.Config{v1alpha1.SystemNamespace: {}}},
			&pipelinev1.PipelineRun{}:     runs,
			&pipelinev1.TaskRun{}:         runs,
			&corev1.Pod{}:                 runs,
		},
	}
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

// Setup adds the controllers to a manager.
func Setup(ctx context.Context, mgr ctrl.Manager, cfg Config, ports Ports) error {
	if ports.Now == nil {
		ports.Now = time.Now
	}
	if ports.Metrics == nil {
		ports.Metrics = prometheus.NewRegistry()
	}
	engines, err := engines(mgr)
	if err != nil {
		return err
	}
	if err := Index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	e := cfg.Execution
	store := &target.Store{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Rules: target.Rules{
		Cooldown: e.Cooldown.Duration, BackoffBase: e.BackoffBase.Duration, BackoffMax: e.BackoffMax.Duration, MaxFailures: e.MaxFailures,
	}}
	r := &Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Targets: store, Engines: engines, Kinds: mgr.GetRESTMapper(),
		Library: &Library{Catalog: ports.Catalog, AllowUnregistered: e.AllowUnregistered},
		Audit:   ports.Audit, Notify: NewCounted(Events{mgr.GetEventRecorder("kubernaut")}, ports.Metrics), Policy: policy(e), Now: ports.Now,
	}
	if e.PullSecret != "none" {
		r.PullSecret = e.PullSecret
	}
	return errors.Join(
		setupExecutions(mgr, r, e.Workers),
		ctrl.NewControllerManagedBy(mgr).For(&v1alpha1.RemediationTarget{}).
			Watches(&v1alpha1.WorkflowExecution{}, handler.EnqueueRequestsFromMapFunc(recordOf)).
			Watches(&pipelinev1.PipelineRun{}, handler.EnqueueRequestsFromMapFunc(recordOfRun)).
			WithOptions(controller.Options{MaxConcurrentReconciles: 4}).
			Complete(reconcile.AsReconciler(mgr.GetClient(), &Keeper{
				Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Targets: store, Engines: engines,
				Audit: ports.Audit, Now: ports.Now, Keep: 24 * time.Hour,
			})),
		setupJanitor(mgr, &Janitor{
			Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Engine: engines[tekton.Name], Targets: store,
			Now: ports.Now, Retention: e.Retention.Duration,
		}),
	)
}

// Index tells a cache by what the controllers look up.
func Index(ctx context.Context, cache client.FieldIndexer) error {
	if err := cache.IndexField(ctx, &v1alpha1.WorkflowExecution{}, indexWaitsFor, waitsFor); err != nil {
		return fmt.Errorf("indexing executions: %w", err)
	}
	return nil
}

func policy(e ExecutionConfig) execution.Policy {
	return execution.Policy{
		Timeout: e.Timeout.Duration, MaxWait: e.MaxWait.Duration, StopGrace: e.StopGrace.Duration,
		AllowUnregistered: e.AllowUnregistered, Paused: e.Paused, MaxRunning: e.MaxRunning,
	}
}

// engines are those that this cluster has.
func engines(mgr ctrl.Manager) (map[string]engine.Engine, error) {
	gvk := pipelinev1.SchemeGroupVersion.WithKind("PipelineRun")
	_, err := mgr.GetRESTMapper().RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return nil, errors.New("Tekton Pipelines is not installed in this cluster: install it, then start the controller again")
	}
	if err != nil {
		return nil, fmt.Errorf("asking the cluster for Tekton Pipelines: %w", err)
	}
	core, err := kubernetes.NewForConfig(mgr.GetConfig())
	if err != nil {
		return nil, fmt.Errorf("making a client for logs: %w", err)
	}
	witness := tekton.NewWitness(tekton.New(mgr.GetClient(), mgr.GetAPIReader()), core.CoreV1())
	return map[string]engine.Engine{tekton.Name: witness}, mgr.Add(manager.RunnableFunc(witness.Follow))
}

func setupExecutions(mgr ctrl.Manager, r *Reconciler, workers int) error {
	return ctrl.NewControllerManagedBy(mgr).For(&v1alpha1.WorkflowExecution{}).
		Watches(&v1alpha1.WorkflowExecution{}, handler.EnqueueRequestsFromMapFunc(r.whoWaitsBehind)).
		Watches(&v1alpha1.RemediationTarget{}, handler.EnqueueRequestsFromMapFunc(r.whoCares)).
		Watches(&pipelinev1.PipelineRun{}, handler.EnqueueRequestsFromMapFunc(whoRuns)).
		Watches(&pipelinev1.TaskRun{}, handler.EnqueueRequestsFromMapFunc(whoRuns)).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(whoRuns)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(reconcile.AsReconciler(mgr.GetClient(), r))
}

func setupJanitor(mgr ctrl.Manager, j *Janitor) error {
	return ctrl.NewControllerManagedBy(mgr).For(&pipelinev1.PipelineRun{}).
		Complete(reconcile.AsReconciler(mgr.GetClient(), j))
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

// whoCares are the holder of a target and everybody who waits for it.
func (r *Reconciler) whoCares(ctx context.Context, obj client.Object) []reconcile.Request {
	rt, ok := obj.(*v1alpha1.RemediationTarget)
	if !ok {
		return nil
	}
	all := r.waiters(ctx, rt.Spec.Target)
	if h := rt.Status.Holder; h != nil {
		all = append(all, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: h.Namespace, Name: h.Name}})
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

// recordOf is the record of an execution's target, which may lose its holder when
// the execution goes.
func recordOf(_ context.Context, obj client.Object) []reconcile.Request {
	ex, ok := obj.(*v1alpha1.WorkflowExecution)
	if !ok || ex.Status.Target == nil || ex.DeletionTimestamp == nil {
		return nil
	}
	return record(ex.Status.Target.Key)
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
