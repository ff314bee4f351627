package simulation

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/controller"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/engine/tekton"
	"kubernaut.ai/kubernaut/internal/execution"
	"kubernaut.ai/kubernaut/internal/target"
)

var errCrashed = errors.New("the process is dead")

// replica is one process of the controller. It knows nothing of other replicas,
// and no lease keeps it from working: each may be the old leader that woke up.
type replica struct {
	name    string
	sim     *simulation
	skew    time.Duration // of its clock
	cache   *mirror
	dead    bool
	tasks   []*task
	running *task

	reconcilers map[string]reconcile.Reconciler // by kind
}

// The installation of the simulated cluster.
const (
	retention = 24 * time.Hour
	cooldown  = time.Minute
)

func (s *simulation) boot(name string, skew time.Duration) *replica {
	r := &replica{name: name, sim: s, skew: skew, cache: newMirror(s.server)}
	c, fresh := cached{replica: r}, client.Reader(uncached{r})
	if s.weak.cachedReads {
		fresh = c
	}
	store := &target.Store{Client: c, Reader: fresh, Rules: target.Rules{
		Cooldown: cooldown, BackoffBase: time.Minute, BackoffMax: 10 * time.Minute, MaxFailures: 5,
	}}
	runs := tekton.New(c, fresh)
	engines := engine.SetOf(map[string]engine.Engine{tekton.Name: runs})
	conflicts := prometheus.NewCounter(prometheus.CounterOpts{})
	kinds := meta.NewDefaultRESTMapper(nil)
	kinds.Add(appsv1.SchemeGroupVersion.WithKind("Deployment"), meta.RESTScopeNamespace)
	r.reconcilers = map[string]reconcile.Reconciler{
		"WorkflowExecution": reconcile.AsReconciler(c, &controller.Reconciler{
			Client: c, Reader: fresh, Targets: store, Engines: engines, Kinds: kinds,
			Library: &controller.Library{Catalog: r, Now: r.now}, Audit: r, Notify: silent{}, Now: r.now,
			Policy: execution.Policy{
				Timeout: 30 * time.Minute, MaxWait: 15 * time.Minute, StopGrace: 30 * time.Second, AuditStrict: s.strict, MaxRunning: s.places,
			},
			Slots: &controller.Slots{Client: locked{r}, All: s.places, Now: r.now},
		}),
		"RemediationTarget": reconcile.AsReconciler(c, &controller.Keeper{
			Client: c, Reader: fresh, Targets: store, Engines: engines, Audit: r, Conflicts: conflicts, Now: r.now, Keep: 24 * time.Hour,
		}),
		"ConfigMap": reconcile.AsReconciler(c, &controller.Courier{Client: c, Audit: r, Conflicts: conflicts}),
		"PipelineRun": reconcile.AsReconciler(c, &controller.Janitor[*pipelinev1.PipelineRun]{
			Client: c, Reader: fresh, Engine: runs, Ended: tekton.Ended, Targets: store, Now: r.now, Retention: retention,
		}),
	}
	return r
}

func (r *replica) now() time.Time { return r.sim.clock.Add(r.skew) }

// silent tells nobody of anything.
type silent struct{}

func (silent) Changed(_, _ *v1alpha1.WorkflowExecution) {}

// task is one reconcile under way, paused before a request.
type task struct {
	key    key
	next   func() (request, bool)
	stop   func()
	yield  func(request) bool
	before request // it is about to make
	fault  fault   // of that request
}

// request is what a replica asks of the API server or of its cache.
type request struct {
	what   string
	writes bool
}

// fault is what becomes of one request.
type fault struct {
	refused error // it never arrived, or was refused
	lost    error // it arrived, and this is all that came back
}

// begin starts a reconcile and pauses it before its first request. The same
// object is never worked on twice at a time by one replica.
func (r *replica) begin(k key) *task {
	for _, t := range r.tasks {
		if t.key == k {
			return t
		}
	}
	t := &task{key: k}
	t.next, t.stop = iter.Pull(func(yield func(request) bool) {
		t.yield = yield
		if _, err := r.reconcilers[k.kind].Reconcile(r.sim.ctx, reconcile.Request{NamespacedName: k.NamespacedName}); err != nil && !r.dead {
			r.sim.note("%s gives up on %s for now: %v", r.name, k.Name, err)
		}
	})
	r.tasks = append(r.tasks, t)
	r.resume(t)
	return t
}

// resume lets a task make its request and go on to the next. It says whether
// there is one.
func (r *replica) resume(t *task) bool {
	r.running = t
	var more bool
	if t.before, more = t.next(); more {
		return true
	}
	for i := range r.tasks {
		if r.tasks[i] == t {
			r.tasks = append(r.tasks[:i], r.tasks[i+1:]...)
			break
		}
	}
	return false
}

// crash ends the process. Nothing of it is left but requests that are on their
// way, when land is true.
func (r *replica) crash(land bool) {
	for _, t := range r.tasks {
		if land && t.before.writes {
			t.fault = fault{lost: errCrashed}
			r.running = t
			t.next()
		}
	}
	r.dead = true
	for _, t := range r.tasks {
		t.stop()
	}
	r.tasks = nil
}

// ask makes one request, when its turn has come.
func (r *replica) ask(ctx context.Context, what request, effect func() error) error {
	if r.dead {
		return errCrashed
	}
	t := r.running
	if !t.yield(what) || r.dead {
		return errCrashed
	}
	f := t.fault
	t.fault = fault{}
	if deadline, ok := ctx.Deadline(); ok && !r.now().Before(deadline) {
		r.sim.note("%s is too late to %s", r.name, what.what)
		return context.DeadlineExceeded
	}
	if f.refused != nil {
		r.sim.note("%s fails to %s: %v", r.name, what.what, f.refused)
		return f.refused
	}
	r.sim.server.by = r.name
	err := effect()
	if what.writes {
		r.sim.note("%s: %s: %s", r.name, what.what, answer(err, f.lost))
	}
	if f.lost != nil {
		return f.lost
	}
	return err
}

func answer(err, lost error) string {
	said := "done"
	if err != nil {
		said = string(apierrors.ReasonForError(err))
	}
	if lost != nil {
		said += ", but the answer is lost"
	}
	return said
}

// uncached reads past every cache.
type uncached struct{ *replica }

func (u uncached) Get(ctx context.Context, name client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	k := key{u.sim.server.kindOf(obj).Kind, name}
	return u.ask(ctx, request{what: "read " + k.kind + " " + k.Name}, func() error { return u.sim.server.get(k, obj) })
}

func (u uncached) List(ctx context.Context, out client.ObjectList, opts ...client.ListOption) error {
	kind := strings.TrimSuffix(u.sim.server.kindOf(out).Kind, "List")
	return u.ask(ctx, request{what: "list " + kind}, func() error { return list(u.sim.server.objects, kind, nil, out, opts...) })
}

// cached reads from the replica's cache and writes to the server. What the
// controller does not use is left nil.
type cached struct {
	client.Client
	*replica
}

func (c cached) Get(ctx context.Context, name client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	k := key{c.sim.server.kindOf(obj).Kind, name}
	return c.ask(ctx, request{what: "look up " + k.kind + " " + k.Name}, func() error { return c.cache.get(k, obj) })
}

func (c cached) List(ctx context.Context, out client.ObjectList, opts ...client.ListOption) error {
	kind := strings.TrimSuffix(c.sim.server.kindOf(out).Kind, "List")
	return c.ask(ctx, request{what: "look through " + kind}, func() error { return list(c.cache.objects, kind, c.cache.indexes, out, opts...) })
}

// locked reads from the replica's cache at once: whoever holds a lock meanwhile must
// not be put to sleep.
type locked struct{ *replica }

func (l locked) Get(_ context.Context, name client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	return l.cache.get(key{l.sim.server.kindOf(obj).Kind, name}, obj)
}

func (l locked) List(_ context.Context, out client.ObjectList, opts ...client.ListOption) error {
	kind := strings.TrimSuffix(l.sim.server.kindOf(out).Kind, "List")
	return list(l.cache.objects, kind, l.cache.indexes, out, opts...)
}

func (c cached) write(ctx context.Context, verb string, obj client.Object, effect func() error) error {
	k := c.sim.server.keyOf(obj)
	return c.ask(ctx, request{what: fmt.Sprintf("%s %s %s", verb, k.kind, obj.GetName()), writes: true}, func() error {
		err := effect()
		if err == nil {
			c.sim.note("%s makes it: %s", c.name, summary(c.sim.server.objects[k]))
		}
		return err
	})
}

// summary is what a story tells of an object.
func summary(obj client.Object) string {
	switch o := obj.(type) {
	case *v1alpha1.WorkflowExecution:
		recorded := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionAuditRecorded)
		if recorded == nil {
			recorded = &metav1.Condition{}
		}
		return fmt.Sprintf("phase %s, run %v, audit %s, finalizers %v", o.Status.Phase, o.Status.PipelineRunRef != nil, recorded.Reason, o.Finalizers)
	case *v1alpha1.RemediationTarget:
		return o.Status.Message
	case *pipelinev1.PipelineRun:
		return fmt.Sprintf("occupant %t, asked to stop %q, finalizers %v", occupies(o), o.Spec.Status, o.Finalizers)
	}
	return "gone"
}

func (c cached) Create(ctx context.Context, obj client.Object, _ ...client.CreateOption) error {
	return c.write(ctx, "create", obj, func() error {
		if c.sim.weak.noRunFinalizer {
			drop(obj, v1alpha1.RunFinalizer)
		}
		return c.sim.server.create(obj)
	})
}

func (c cached) Patch(ctx context.Context, obj client.Object, p client.Patch, _ ...client.PatchOption) error {
	return c.patch(ctx, "patch", obj, p, body)
}

func (c cached) patch(ctx context.Context, verb string, obj client.Object, p client.Patch, what part) error {
	raw, err := p.Data(obj)
	if err != nil {
		return err
	}
	return c.write(ctx, verb, obj, func() error { return c.sim.server.patch(obj, raw, what) })
}

func (c cached) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	var o client.DeleteOptions
	o.ApplyOptions(opts)
	var when *metav1.Preconditions
	if o.Preconditions != nil {
		when = &metav1.Preconditions{UID: o.Preconditions.UID, ResourceVersion: o.Preconditions.ResourceVersion}
	}
	return c.write(ctx, "delete", obj, func() error { return c.sim.server.delete(c.sim.server.keyOf(obj), when) })
}

func (c cached) Status() client.SubResourceWriter { return statusOf{cached: c} }

// statusOf writes the status of objects.
type statusOf struct {
	client.SubResourceWriter
	cached cached
}

func (w statusOf) Update(ctx context.Context, obj client.Object, _ ...client.SubResourceUpdateOption) error {
	c := w.cached
	return c.write(ctx, "update the status of", obj, func() error { return c.sim.server.update(obj, status) })
}

func (w statusOf) Patch(ctx context.Context, obj client.Object, p client.Patch, _ ...client.SubResourcePatchOption) error {
	return w.cached.patch(ctx, "patch the status of", obj, p, status)
}

func drop(obj client.Object, finalizer string) {
	var left []string
	for _, f := range obj.GetFinalizers() {
		if f != finalizer {
			left = append(left, f)
		}
	}
	obj.SetFinalizers(left)
}

func named(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}
