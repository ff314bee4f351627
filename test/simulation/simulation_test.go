package simulation

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/controller"
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

// quarrels generates lives that chance seldom makes: two replicas want different
// things for one execution, one of them asleep before one of its writes, with a view
// from before; or two executions have one name, one after the other.
func quarrels(weak weakness) *rapid.Generator[life] {
	return rapid.Custom(func(t *rapid.T) life {
		s := newSimulation(t, weak)
		s.reliable = true
		[]func(){s.freedMeanwhile, s.cancelledMeanwhile, s.underOneName}[s.pick(3, "quarrel")]()
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

// underOneName: an execution is created under the name of one that has ended and is
// gone, while the run of the former is still there.
func (s *simulation) underOneName() {
	a := s.execution("a", "heal", targets[0], v1alpha1.OnBusySkip)
	for i := 0; i < 100 && !s.isSettled(a); i++ {
		s.moveAll()
		s.look(s.replicas[0], a)
	}
	s.server.by = byUser
	must(s.server.delete(a, nil))
	s.clock = s.clock.Add(2 * cooldown)
	s.execution("a", "heal", targets[0], v1alpha1.OnBusySkip)
	for range s.pick(40, "looks") {
		s.moveAll()
		s.look(s.replicas[s.pick(2, "replica")], a)
	}
}

func (s *simulation) isSettled(k key) bool {
	ex, there := s.server.objects[k].(*v1alpha1.WorkflowExecution)
	return there && ex.Status.CompletionTime != nil && len(ex.Finalizers) == 0
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
