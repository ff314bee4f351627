package simulation

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/controller"
	"kubernaut.ai/kubernaut/internal/engine"
)

func TestMain(m *testing.M) {
	log.SetLogger(logr.FromSlogHandler(slog.DiscardHandler))
	flag.Parse()
	preset("rapid.nofailfile", "true") // a failure prints its seed
	preset("rapid.shrinktime", "10s")
	os.Exit(m.Run())
}

// preset sets a flag that the command line does not.
func preset(name, value string) {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if !given {
		must(flag.Lookup(name).Value.Set(value))
	}
}

// checks is how often rapid tries. Where the tests may take long it is more, and
// other lives each time; else they are always the same ones, so that a change that
// has nothing to do with them does not fail by chance.
func checks(usually, inFull string) {
	if full() {
		preset("rapid.checks", inFull)
		return
	}
	preset("rapid.checks", usually)
	preset("rapid.seed", "1")
}

// full says whether the tests that take long run too.
func full() bool { return os.Getenv("KUBERNAUT_TEST") == "full" }

// weakness is a guard that is taken away.
type weakness struct {
	forgetful      bool // records of targets are written without a look at their version
	cachedReads    bool // what should be read past the caches is read from them
	noRunFinalizer bool // runs are created without our finalizer
}

// simulation is one world and what has happened in it.
type simulation struct {
	t        *rapid.T
	ctx      context.Context
	weak     weakness
	clock    time.Time
	server   *server
	storage  *storage
	truth    *truth
	replicas []*replica
	boots    int
	created  int
	strict   bool   // nothing starts before its events are safe
	places   int    // of executions that run at a time; 0: no limit
	reliable bool   // every request is answered, and runs succeed
	calm     bool   // nothing fails any more
	broken   string // the first promise that was
	story    strings.Builder
}

const users = "team"

var targets = []string{users + "/deployment/web", users + "/deployment/db"}

func newSimulation(t *rapid.T, weak weakness) *simulation {
	s := &simulation{t: t, ctx: context.Background(), weak: weak, clock: epoch, storage: newStorage(), truth: newTruth()}
	s.server = newServer(controller.Scheme(), func() time.Time { return s.clock })
	s.server.changed = s.changed
	if weak.forgetful {
		s.server.forgetful = "RemediationTarget"
	}
	s.install(false, 0)
	return s
}

// install starts two replicas with these settings.
func (s *simulation) install(strict bool, places int) {
	s.strict, s.places, s.replicas = strict, places, nil
	for range 2 {
		s.replicas = append(s.replicas, s.reboot())
	}
}

func (s *simulation) reboot() *replica {
	s.boots++
	return s.boot(fmt.Sprintf("replica %d", s.boots), time.Duration(s.pick(5, "skew")-2)*time.Second)
}

func (s *simulation) note(format string, args ...any) {
	fmt.Fprintf(&s.story, "%8.0fs  %s\n", s.clock.Sub(epoch).Seconds(), fmt.Sprintf(format, args...))
}

// pick draws a number from 0 to n-1; smaller ones are simpler.
func (s *simulation) pick(n int, what string) int { return rapid.IntRange(0, n-1).Draw(s.t, what) }

// life is one simulation from its beginning to its end.
type life struct {
	broken string // the promise that was, or nothing
	story  string
}

// lives generates simulations of a controller with a weakness.
func lives(weak weakness) *rapid.Generator[life] {
	return rapid.Custom(func(t *rapid.T) life {
		s := newSimulation(t, weak)
		s.install(s.pick(4, "strict") == 3, max(s.pick(4, "places")-1, 0))
		s.submit()
		s.happen(150)
		return s.end()
	})
}

// quarrels generates lives in which two replicas want different things for one
// execution: one falls asleep before one of its writes, with a view from before, and
// goes on in the middle of what the other one does.
func quarrels(weak weakness) *rapid.Generator[life] {
	return rapid.Custom(func(t *rapid.T) life {
		s := newSimulation(t, weak)
		s.reliable = true
		if s.pick(2, "quarrel") == 1 {
			s.cancelledMeanwhile()
		} else {
			s.freedMeanwhile()
		}
		return s.end()
	})
}

// freedMeanwhile: the sleeper has looked at an execution while another held its
// target; when it wakes the other replica works on the same.
func (s *simulation) freedMeanwhile() {
	sleeper, other := s.replicas[0], s.replicas[1]
	a := s.execution("a", "heal", targets[0], v1alpha1.OnBusySkip)
	b := s.execution("b", "drain", targets[0], v1alpha1.OnBusySkip)
	for i := 0; i < 100 && s.holderOf(targetKey) == nil; i++ {
		s.look(other, a)
	}
	asleep := s.sleep(sleeper, b, 1+s.pick(3, "writes"))
	for i := 0; i < 100 && s.holderOf(targetKey) != nil; i++ { // the other one has not heard of b yet
		s.moveAll()
		s.look(other, a)
	}
	wake := s.pick(60, "requests of the other before the sleeper wakes")
	for wake > 0 && !s.isBroken() {
		other.cache.followAll()
		for t := other.begin(b); wake > 0 && other.resume(t); wake-- {
		}
		wake--
	}
	if asleep != nil {
		s.drain(sleeper, asleep)
	}
}

// cancelledMeanwhile: the sleeper is about to take a target for an execution, or to
// start its run, and has not heard that a user cancels it. The other replica has, and
// falls asleep before one of its own writes.
func (s *simulation) cancelledMeanwhile() {
	b := s.execution("b", "drain", targets[0], v1alpha1.OnBusySkip)
	asleep := s.sleep(s.replicas[0], b, 1+s.pick(4, "writes of the sleeper"))
	s.cancel()
	asleepToo := s.sleep(s.replicas[1], b, 1+s.pick(4, "writes of the other"))
	if asleep != nil {
		s.drain(s.replicas[0], asleep)
	}
	if asleepToo != nil {
		s.drain(s.replicas[1], asleepToo)
	}
}

// targetKey is the first of the targets as its record has it.
const targetKey = users + "/deployment.apps/web"

// look lets a replica that knows everything move an execution one step.
func (s *simulation) look(r *replica, k key) {
	r.cache.followAll()
	s.drain(r, r.begin(k))
}

// sleep lets a replica move an execution until it is about to write for the nth
// time. It returns what sleeps, nil when there is nothing more to write.
func (s *simulation) sleep(r *replica, k key, nth int) *task {
	for range 20 {
		r.cache.followAll()
		t := r.begin(k)
		for more := true; more; more = r.resume(t) {
			if t.before.writes {
				if nth--; nth == 0 {
					return t
				}
			}
		}
	}
	return nil
}

// happen lets at most so many steps happen.
func (s *simulation) happen(most int) {
	for range s.pick(most, "steps") {
		if s.isBroken() {
			return
		}
		s.step()
	}
}

func (s *simulation) end() life {
	if !s.isBroken() {
		s.settle()
	}
	s.isBroken()
	return life{s.broken, s.story.String()}
}

func (s *simulation) isBroken() bool {
	if s.broken == "" {
		s.broken = s.storage.broken
	}
	return s.broken != ""
}

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

// settle lets everything finish: nothing fails any more, and everybody looks at
// everything, as after a re-list.
func (s *simulation) settle() {
	s.calm = true
	s.note("nothing fails any more")
	clear(s.storage.answers)
	for _, r := range s.replicas {
		for len(r.tasks) > 0 && s.broken == "" {
			s.drain(r, r.tasks[0])
		}
	}
	for range 100 {
		if s.broken != "" || s.unfinished() == "" {
			break
		}
		s.round()
	}
	if why := s.unfinished(); why != "" && s.broken == "" {
		s.breaks("everything that can finish finishes", "%s", why)
	}
}

func (s *simulation) drain(r *replica, t *task) {
	t.fault = fault{}
	for i := 0; r.resume(t); i++ {
		if i > 500 {
			s.breaks("a reconcile ends", "%s has made 500 requests for %s", r.name, t.key)
			return
		}
	}
}

// moveAll lets Tekton and the kubelet go on with most of what there is.
func (s *simulation) moveAll() {
	for _, kind := range []string{"PipelineRun", "TaskRun", "Pod"} {
		for _, k := range sorted(s.server.objects, kind) {
			if s.pick(3, "slow") < 2 {
				s.move(s.server.objects[k])
			}
		}
	}
}

// round lets everything go on once.
func (s *simulation) round() {
	s.moveAll()
	for _, r := range s.replicas {
		for _, kind := range worked {
			for _, k := range sorted(s.server.objects, kind) {
				r.cache.followAll()
				if t := r.begin(k); s.broken == "" {
					s.drain(r, t)
				}
			}
		}
	}
	s.clock = s.clock.Add(20 * time.Second)
}

// TestSafeUnderAnyInterleaving looks for an interleaving that breaks a promise.
func TestSafeUnderAnyInterleaving(t *testing.T) { search(t, lives(weakness{})) }

// TestSafeWhereTwoMeet looks for one between two executions of one target.
func TestSafeWhereTwoMeet(t *testing.T) { search(t, quarrels(weakness{})) }

func search(t *testing.T, lives *rapid.Generator[life]) {
	checks("500", "20000")
	rapid.Check(t, func(rt *rapid.T) {
		if l := lives.Draw(rt, "life"); l.broken != "" {
			rt.Fatal(l.broken + "\n" + l.story)
		}
	})
}

// String keeps what is printed of a life short; the story is told where it matters.
func (l life) String() string { return l.broken }

// GoString is the same.
func (l life) GoString() string { return l.broken }
