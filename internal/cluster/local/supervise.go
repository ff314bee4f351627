package local

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"kubernaut.ai/kubernaut/internal/cluster"
)

// component is one program of the node.
type component struct {
	name  string
	after []string // names of those that must be ready before it is started
	argv  []string
	ready func(context.Context) error // asks the program itself
	first func(context.Context) error // done once when it is ready, before those after it are started; may be nil
}

// report is what init tells the machine's side, in the node's status file.
type report struct {
	Init       process // who says so: a report of an earlier start counts for nothing
	Ready      bool    // every component, and the node itself
	Node       string  // why the node is not ready
	Components []componentReport
	Failed     string // init itself could not go on, because of this
}

// componentReport adds to a component's status what only a start needs.
type componentReport struct {
	cluster.Component
	Failures int // how often it ended since it was last ready
}

// supervisor keeps the components running and the report true.
type supervisor struct {
	node   node
	reaper *reaper
	log    *slog.Logger

	mu     sync.Mutex
	report report
	ready  map[string]chan struct{} // closed when a component was ready for the first time
}

const (
	askEvery   = 50 * time.Millisecond // how often a program is asked whether it is ready
	firstPause = 500 * time.Millisecond
	longPause  = 10 * time.Second
	settled    = time.Minute // who ran that long begins again with the first pause

	askPatience   = time.Second      // for an answer whether a program is ready
	firstPatience = 30 * time.Second // for what is done when it is ready for the first time, in all
)

func newSupervisor(n node, self process, log *slog.Logger, all []component) *supervisor {
	s := &supervisor{node: n, reaper: newReaper(), log: log, ready: map[string]chan struct{}{}}
	s.report = report{Init: self, Node: "not asked yet"}
	for _, c := range all {
		s.report.Components = append(s.report.Components, componentReport{Component: cluster.Component{Name: c.name}})
		s.ready[c.name] = make(chan struct{})
	}
	return s
}

// keep runs the component, again and again, for as long as the node lives.
func (s *supervisor) keep(ctx context.Context, c component) {
	for _, other := range c.after {
		<-s.ready[other]
	}
	pause := firstPause
	for {
		began := time.Now()
		problem := s.run(ctx, c)
		if time.Since(began) > settled {
			pause = firstPause
		}
		s.log.Warn("Component ended", "component", c.name, "problem", problem, "restart", pause)
		s.change(c.name, func(status *componentReport) {
			status.Ready, status.Problem = false, problem
			status.Restarts++
			status.Failures++
		})
		time.Sleep(pause) //nolint:forbidigo // backoff: nothing can be waited for
		pause = min(2*pause, longPause)
	}
}

// run starts the component once and returns how it ended.
func (s *supervisor) run(ctx context.Context, c component) (problem string) {
	output, err := os.OpenFile(s.node.log(c.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err.Error()
	}
	end, err := s.reaper.start(c.argv, s.node.environment(), output)
	output.Close() // the child has its own
	if err != nil {
		return err.Error()
	}
	s.change(c.name, func(status *componentReport) { status.Since = time.Now() })
	asking, stop := context.WithCancel(ctx)
	go s.ask(asking, c)
	status := <-end
	stop()
	return describe(status)
}

// ask asks the component until it is ready.
func (s *supervisor) ask(ctx context.Context, c component) {
	err := poll(ctx, askPatience, func(ctx context.Context) error {
		err := c.ready(ctx)
		if err != nil && ctx.Err() == nil {
			s.change(c.name, func(status *componentReport) { status.Problem = "not ready: " + err.Error() })
		}
		return err
	})
	if err != nil {
		return // it ended
	}
	if err := s.firstTime(ctx, c); err != nil {
		return
	}
	s.log.Info("Component is ready", "component", c.name)
	s.change(c.name, func(status *componentReport) { status.Ready, status.Problem, status.Failures = true, "", 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.wasReady(c.name) {
		close(s.ready[c.name])
	}
}

// wasReady says whether a component has been ready since the node started.
func (s *supervisor) wasReady(name string) bool {
	select {
	case <-s.ready[name]:
		return true
	default:
		return false
	}
}

// firstTime does what is to be done when a component is ready for the first time,
// until that succeeds. All others wait for it, so a node comes up without it when it
// cannot be done: a webhook of the user may refuse it for ever.
func (s *supervisor) firstTime(ctx context.Context, c component) error {
	if c.first == nil || s.wasReady(c.name) {
		return nil
	}
	patient, cancel := context.WithTimeout(ctx, firstPatience)
	defer cancel()
	var problem error
	err := poll(patient, firstPatience, func(patient context.Context) error {
		err := c.first(patient)
		if err != nil && (problem == nil || patient.Err() == nil) {
			problem = err
			s.change(c.name, func(status *componentReport) { status.Problem = "not ready: " + err.Error() })
		}
		return err
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	s.log.Warn("Going on without what was to be done first", "component", c.name, "after", firstPatience, "problem", problem)
	return nil
}

// poll asks until there is no error, or ctx ends. Each question may take so long.
func poll(ctx context.Context, patience time.Duration, question func(context.Context) error) error {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		one, cancel := context.WithTimeout(ctx, patience)
		err := question(one)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// watchNode keeps asking the API server whether the node is ready.
func (s *supervisor) watchNode(ctx context.Context, ask func(context.Context) error) {
	<-s.ready[kubelet]
	const calm = 5 * time.Second // between questions, once it was ready
	for {
		s.setNode(poll(ctx, askPatience, func(ctx context.Context) error {
			err := ask(ctx)
			s.setNode(err)
			return err
		}))
		time.Sleep(calm) //nolint:forbidigo // a question now and then
	}
}

func (s *supervisor) setNode(err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.report.Node != problem {
		s.report.Node = problem
		s.publish()
	}
}

// change applies a change to one component's status and publishes it.
func (s *supervisor) change(name string, apply func(*componentReport)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.report.Components {
		if c := &s.report.Components[i]; c.Name == name {
			before := *c
			apply(c)
			if *c != before {
				s.publish()
			}
		}
	}
}

// publish writes the report. The caller holds the lock.
func (s *supervisor) publish() {
	s.report.Ready = s.report.Node == ""
	for _, c := range s.report.Components {
		s.report.Ready = s.report.Ready && c.Ready
	}
	if err := writeJSON(s.node.statusFile(), s.report); err != nil {
		s.log.Error("Cannot write the status", "err", err)
	}
}

// environment is what every program of the node is started with.
func (n node) environment() []string {
	path := n.path("bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	return []string{"PATH=" + path, "HOME=/root", "LANG=C.UTF-8"}
}

// stopOnSignal ends the whole node when init is told to end.
func stopOnSignal(told <-chan os.Signal, log *slog.Logger) {
	s := <-told
	log.Info("Ending", "signal", s)
	os.Exit(128 + int(s.(syscall.Signal)))
}
