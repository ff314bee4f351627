package controller

import (
	"context"
	"fmt"
	"net/http"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/engine/job"
	"kubernaut.ai/kubernaut/internal/engine/pod"
	"kubernaut.ai/kubernaut/internal/engine/tekton"
	"kubernaut.ai/kubernaut/internal/engine/witness"
	"kubernaut.ai/kubernaut/internal/execution"
	"kubernaut.ai/kubernaut/internal/target"
)

// fleet brings engines into service: each is watched, its runs are removed in time,
// and executions may name it.
type fleet struct {
	mgr                 ctrl.Manager
	core                typedcorev1.CoreV1Interface
	latch               *pod.Latch
	engines             *engine.Set
	executions, records controller.Controller
	targets             *target.Store
	now                 func() time.Time
	retention           time.Duration
}

// setup brings Jobs into service, which every cluster has, and Tekton, as soon as
// the cluster has it.
func (f *fleet) setup(ctx context.Context) error {
	core, err := kubernetes.NewForConfig(f.mgr.GetConfig())
	if err != nil {
		return fmt.Errorf("making a client for logs: %w", err)
	}
	f.core = core.CoreV1()
	jobs := job.New(f.mgr.GetClient(), f.mgr.GetAPIReader())
	if err := add(ctx, f, service[*batchv1.Job]{name: job.Name, subject: jobs, run: &batchv1.Job{}, ended: job.Ended, tidy: jobs.Tidy}); err != nil {
		return err
	}
	return f.setupTekton(ctx)
}

// tektonRecheck is how soon a cluster without Tekton is asked for it again.
const tektonRecheck = 5 * time.Second

func (f *fleet) setupTekton(ctx context.Context) error {
	served, err := f.tektonServed()
	if err != nil {
		return err
	}
	if served {
		return f.addTekton(ctx)
	}
	f.engines.Lack(tekton.Name, fmt.Sprintf("Tekton Pipelines is not installed in this cluster: install it; the controller notices within %s", tektonRecheck))
	return f.mgr.Add(manager.RunnableFunc(f.awaitTekton))
}

// awaitTekton brings Tekton into service when it is installed while the controller
// runs.
func (f *fleet) awaitTekton(ctx context.Context) error {
	log := ctrl.LoggerFrom(ctx).WithName("engines")
	log.Info("Tekton Pipelines is not installed; workflows that need it fail until it is")
	tick := time.NewTicker(tektonRecheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		served, err := f.tektonServed()
		if err != nil {
			log.V(1).Info("The cluster cannot be asked for Tekton Pipelines", "because", err.Error())
		}
		if served {
			log.Info("Tekton Pipelines is installed")
			return f.addTekton(ctx)
		}
	}
}

func (f *fleet) addTekton(ctx context.Context) error {
	return add(ctx, f, service[*pipelinev1.PipelineRun]{
		name: tekton.Name, subject: tekton.New(f.mgr.GetClient(), f.mgr.GetAPIReader()),
		run: &pipelinev1.PipelineRun{}, ended: tekton.Ended, parts: []client.Object{&pipelinev1.TaskRun{}},
	})
}

// tektonKinds are what an engine of Tekton reads.
var tektonKinds = []string{"PipelineRun", "TaskRun"}

func (f *fleet) tektonServed() (bool, error) {
	kinds := f.mgr.GetRESTMapper()
	if p, promised := kinds.(promised); promised {
		kinds = p.RESTMapper
	}
	for _, kind := range tektonKinds {
		gvk := pipelinev1.SchemeGroupVersion.WithKind(kind)
		_, err := kinds.RESTMapping(gvk.GroupKind(), gvk.Version)
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("asking the cluster for Tekton Pipelines: %w", err)
		}
	}
	return true, nil
}

// service is what it takes to bring an engine into service.
type service[T client.Object] struct {
	name    string
	subject witness.Subject
	run     T
	ended   func(T) (time.Time, bool)
	tidy    func(context.Context, engine.Ref) error
	parts   []client.Object
}

func add[T client.Object](ctx context.Context, f *fleet, s service[T]) error {
	w := witness.New(s.subject, f.core, f.latch)
	if err := f.mgr.Add(manager.RunnableFunc(w.Follow)); err != nil {
		return err
	}
	watch := func(c controller.Controller, obj client.Object, who handler.MapFunc) error {
		return c.Watch(source.Kind(f.mgr.GetCache(), obj, handler.EnqueueRequestsFromMapFunc(who)))
	}
	kinds := append([]client.Object{s.run}, s.parts...)
	if err := warm(ctx, f.mgr, kinds...); err != nil {
		return err
	}
	for _, obj := range kinds {
		if err := watch(f.executions, obj, whoRuns); err != nil {
			return fmt.Errorf("watching %T: %w", obj, err)
		}
	}
	if err := watch(f.records, s.run, recordOfRun); err != nil {
		return fmt.Errorf("watching %T: %w", s.run, err)
	}
	f.engines.Add(s.name, w)
	janitor := ctrl.NewControllerManagedBy(f.mgr).For(s.run)
	if s.tidy != nil { // what was kept goes as soon as nothing is owed
		janitor = janitor.Watches(&v1alpha1.WorkflowExecution{}, handler.EnqueueRequestsFromMapFunc(runOfEnded(s.name)))
	}
	return janitor.Complete(reconcile.AsReconciler(f.mgr.GetClient(), &Janitor[T]{
		Client: f.mgr.GetClient(), Reader: f.mgr.GetAPIReader(), Engine: w, Ended: s.ended, Tidy: s.tidy,
		Targets: f.targets, Now: f.now, Retention: f.retention,
	}))
}

// runOfEnded is the run of an execution that has ended, when an engine of a name
// carried it out.
func runOfEnded(name string) handler.MapFunc {
	return func(_ context.Context, obj client.Object) []reconcile.Request {
		ex, ok := obj.(*v1alpha1.WorkflowExecution)
		if !ok || !execution.Ended(ex) || ex.Status.PipelineRunRef == nil || ex.Engine() != name {
			return nil
		}
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: ex.Status.PipelineRunRef.Namespace, Name: ex.Status.PipelineRunRef.Name}}}
	}
}

// promised knows the scope of Tekton's kinds in clusters that do not have them yet,
// so that their caches can be set up before they are needed.
type promised struct {
	meta.RESTMapper
	later meta.RESTMapper
}

func mapper(cfg *rest.Config, client *http.Client) (meta.RESTMapper, error) {
	served, err := apiutil.NewDynamicRESTMapper(cfg, client)
	if err != nil {
		return nil, err
	}
	later := meta.NewDefaultRESTMapper(nil)
	for _, kind := range tektonKinds {
		later.Add(pipelinev1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	return promised{served, later}, nil
}

// RESTMapping is what the cluster says, else what is promised.
func (p promised) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	m, err := p.RESTMapper.RESTMapping(kind, versions...)
	if meta.IsNoMatchError(err) {
		if known, errLater := p.later.RESTMapping(kind, versions...); errLater == nil {
			return known, nil
		}
	}
	return m, err
}
