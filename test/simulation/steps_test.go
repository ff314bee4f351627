package simulation

import (
	"errors"
	"io"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
)

// steps are what can happen next, and how often it does.
var steps = []struct {
	weight int
	do     func(*simulation)
}{
	{50, (*simulation).work},
	{25, (*simulation).act},
	{15, (*simulation).hear},
	{7, (*simulation).submit},
	{4, (*simulation).cancel},
	{3, (*simulation).crash},
	{3, (*simulation).wait},
	{3, (*simulation).answer},
	{2, (*simulation).remove},
	{2, (*simulation).meddle},
	{1, (*simulation).clear},
}

func (s *simulation) step() {
	all := 0
	for _, c := range steps {
		all += c.weight
	}
	n := s.pick(all, "step")
	for _, c := range steps {
		if n -= c.weight; n < 0 {
			c.do(s)
			return
		}
	}
}

// work lets a replica go on with something, or begin with something.
func (s *simulation) work() {
	r := s.replicas[s.pick(len(s.replicas), "replica")]
	var keys []key
	for _, kind := range worked {
		keys = append(keys, sorted(s.server.objects, kind)...)
	}
	if len(keys)+len(r.tasks) == 0 {
		return
	}
	under := len(r.tasks) // what is under way is as likely as everything else together
	n := s.pick(under+max(under, len(keys)), "object")
	if n < under {
		s.advance(r, r.tasks[n])
		return
	}
	if n -= under; n < len(keys) {
		s.advance(r, r.begin(keys[n]))
	}
}

// advance lets a task make its next request, with what may happen to that, and
// then those up to its next write, or up to its end.
func (s *simulation) advance(r *replica, t *task) {
	t.fault = s.drawFault(t)
	until := s.pick(4, "how far")
	for i := 0; ; i++ {
		if i > 500 {
			s.breaks("a reconcile ends", "%s has made 500 requests for %s", r.name, t.key)
			return
		}
		if !r.resume(t) || until == 3 || until == 2 && t.before.writes {
			return
		}
	}
}

var errRefused = errors.New("connection refused")

func (s *simulation) drawFault(t *task) fault {
	var f fault
	if s.reliable {
		return f
	}
	switch s.pick(24, "fault") {
	case 20:
		f.refused = errRefused
	case 21:
		f.refused = apierrors.NewServiceUnavailable("try again")
	case 22:
		f.lost = io.ErrUnexpectedEOF
	case 23:
		f.lost = apierrors.NewInternalError(errors.New("etcdserver: request timed out"))
		if !t.before.writes {
			f.lost = apierrors.NewTimeoutError("reading", 1)
		}
		if s.pick(2, "conflict") == 1 && t.before.writes {
			f = fault{refused: apierrors.NewConflict(schema.GroupResource{}, t.key.Name, errors.New("somebody was faster"))}
		}
	}
	return f
}

// act lets Tekton, the kubelet or the garbage collector do something.
func (s *simulation) act() {
	var keys []key
	for _, kind := range []string{"PipelineRun", "TaskRun", "Pod"} {
		keys = append(keys, sorted(s.server.objects, kind)...)
	}
	if len(keys) > 0 {
		s.move(s.server.objects[keys[s.pick(len(keys), "part")]])
	}
}

func (s *simulation) move(obj client.Object) {
	switch o := obj.(type) {
	case *pipelinev1.PipelineRun:
		s.tekton(o)
	case *pipelinev1.TaskRun:
		s.collect(o)
		if _, there := s.server.objects[s.server.keyOf(o)]; there {
			s.task(o)
		}
	case *corev1.Pod:
		s.collect(o)
		if now, there := s.server.objects[s.server.keyOf(o)].(*corev1.Pod); there {
			s.kubelet(now, s.calm || s.reliable || s.pick(3, "succeeds") < 2)
		}
	}
}

// hear lets a replica's cache take in some of what has happened.
func (s *simulation) hear() {
	r := s.replicas[s.pick(len(s.replicas), "replica")]
	n := s.pick(len(kinds)+1, "kind")
	if n == 0 {
		r.cache.followAll()
		return
	}
	count := s.pick(4, "changes")
	if count == 0 {
		count = -1
	}
	r.cache.follow(kinds[n-1], count)
}

// submit creates an execution: often under a name that was in use before.
func (s *simulation) submit() {
	if s.created == 8 {
		return
	}
	s.created++
	s.execution(
		string(rune('a'+s.pick(3, "name"))), []string{"heal", "drain"}[s.pick(2, "workflow")], targets[max(0, s.pick(4, "target")-2)],
		[]v1alpha1.OnBusy{v1alpha1.OnBusyWait, v1alpha1.OnBusySkip}[s.pick(2, "on busy")],
	)
}

// execution lets a user create an execution, unless there is one of that name.
func (s *simulation) execution(name, workflow, target string, onBusy v1alpha1.OnBusy) key {
	ex := &v1alpha1.WorkflowExecution{
		ObjectMeta: metav1.ObjectMeta{Namespace: users, Name: name},
		Spec: v1alpha1.WorkflowExecutionSpec{
			WorkflowRef:    v1alpha1.WorkflowRef{WorkflowID: workflow, Version: "1.0.0"},
			TargetResource: target, OnBusy: onBusy,
		},
	}
	if s.pick(4, "admission") < 3 {
		ex.Finalizers = []string{v1alpha1.ExecutionFinalizer}
	}
	s.server.by = byUser
	if err := s.server.create(ex); err == nil {
		s.note("a user creates execution %s (%s) of %s on %s, on busy %s", ex.Name, ex.UID, ex.Spec.WorkflowRef.WorkflowID, ex.Spec.TargetResource, ex.Spec.OnBusy)
	}
	return s.server.keyOf(ex)
}

// anyExecution draws an execution, nil when there is none.
func (s *simulation) anyExecution() *v1alpha1.WorkflowExecution {
	all := sorted(s.server.objects, "WorkflowExecution")
	if len(all) == 0 {
		return nil
	}
	return s.server.objects[all[s.pick(len(all), "execution")]].(*v1alpha1.WorkflowExecution)
}

func (s *simulation) cancel() {
	ex := s.anyExecution()
	if ex == nil || ex.Spec.Cancel != nil {
		return
	}
	mode := []v1alpha1.CancelMode{v1alpha1.CancelGraceful, v1alpha1.CancelImmediate}[s.pick(2, "mode")]
	s.note("a user cancels %s: %s", ex.Name, mode)
	edit(s.server, byUser, ex, func(ex *v1alpha1.WorkflowExecution) {
		ex.Spec.Cancel = &v1alpha1.CancelRequest{Mode: mode, Reason: "enough", RequestedBy: "jane"}
	})
}

// crash ends a replica; another starts in its place, with a cache that may begin
// in the past.
func (s *simulation) crash() {
	i := s.pick(len(s.replicas), "replica")
	land := s.pick(2, "lands") == 1
	s.note("%s crashes, what it has sent arrives: %t", s.replicas[i].name, land)
	s.replicas[i].crash(land)
	s.replicas[i] = s.reboot()
	if s.pick(3, "cache") < 2 {
		s.replicas[i].cache.followAll()
		return
	}
	upTo := s.pick(len(s.server.history)+1, "cache begins")
	for _, kind := range kinds {
		all := s.server.history
		s.server.history = all[:upTo]
		s.replicas[i].cache.follow(kind, -1)
		s.server.history = all
	}
}

var jumps = []time.Duration{time.Second, 10 * time.Second, 2 * time.Minute, 20 * time.Minute, 26 * time.Hour, -5 * time.Second}

func (s *simulation) wait() { s.clock = s.clock.Add(jumps[s.pick(len(jumps), "jump")]) }

// answer sets how Data Storage answers from now on.
func (s *simulation) answer() {
	what := []string{anything, "created", "locked", "started", "failed", "skipped", "cancelled", "completed"}[s.pick(8, "transition")]
	m := mode(s.pick(3, "mode"))
	if what == anything {
		clear(s.storage.answers)
	}
	s.storage.answers[what] = m
	s.note("Data Storage is %s for %q", []string{"up", "down", "mute"}[m], what)
}

// remove deletes an execution or something of a run, as anybody with the right may.
func (s *simulation) remove() {
	var keys []key
	for _, kind := range []string{"WorkflowExecution", "PipelineRun", "TaskRun", "Pod"} {
		keys = append(keys, sorted(s.server.objects, kind)...)
	}
	if len(keys) == 0 {
		return
	}
	k := keys[s.pick(len(keys), "object")]
	s.note("a user deletes %s %s", k.kind, k.Name)
	if k.kind == "TaskRun" || k.kind == "Pod" {
		s.truth.robbed[owner(s.server.objects[k])] = true
	}
	s.server.by = byUser
	must(s.server.delete(k, nil))
}

// meddle takes a finalizer of ours off, or takes the name of a run.
func (s *simulation) meddle() {
	ex := s.anyExecution()
	if ex == nil {
		return
	}
	name := named(v1alpha1.WorkflowNamespace, engine.NameFor(ex))
	switch s.pick(3, "how") {
	case 0:
		s.truth.strangers[string(ex.UID)] = true
		s.server.by = byUser
		pr := &pipelinev1.PipelineRun{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
		if s.server.create(pr) == nil {
			s.note("a stranger makes run %s", pr.Name)
		}
	case 1:
		s.truth.sabotaged[string(ex.UID)] = true
		s.note("a user takes the finalizer off execution %s", ex.Name)
		edit(s.server, byUser, ex, func(ex *v1alpha1.WorkflowExecution) { ex.Finalizers = nil })
	case 2:
		if pr, there := s.server.objects[key{"PipelineRun", name}].(*pipelinev1.PipelineRun); there && owner(pr) != "" {
			s.truth.sabotaged[string(ex.UID)] = true
			s.note("a user takes the finalizer off run %s", pr.Name)
			edit(s.server, byUser, pr, func(pr *pipelinev1.PipelineRun) { pr.Finalizers = nil })
		}
	}
}

// clear clears a block.
func (s *simulation) clear() {
	for _, k := range sorted(s.server.objects, "RemediationTarget") {
		rt := s.server.objects[k].(*v1alpha1.RemediationTarget)
		for _, h := range rt.Status.Workflows {
			if h.Block != nil {
				s.note("a user clears the block of %s on %s", h.WorkflowID, rt.Spec.Target)
				edit(s.server, byUser, rt, func(rt *v1alpha1.RemediationTarget) {
					rt.Spec.ClearBlock = &v1alpha1.ClearBlock{Workflow: h.WorkflowID, BlockID: h.Block.ID, Reason: "looked", ClearedBy: "jane"}
				})
				return
			}
		}
	}
}
