// Package run executes a plan as parallel as its graph and the machine allow.
//
//	Plan + Tasks ──► Run ──► progress events, and an error with root causes only
//
// A step starts when all it needs is ready and there are cores for its weight;
// of several, the one with the longest way to the end goes first. When a step
// fails, what runs is cancelled and nothing more is started.
package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/progress"
)

// Task does the work of one step. It returns when what the step provides can be
// used, and soon after ctx is cancelled. say tells what it is doing at the
// moment; the last word stays in the report.
type Task func(ctx context.Context, say func(note string)) error

// Options are the world a run happens in.
type Options struct {
	Cores int           // 0: as many as the machine has
	Sink  progress.Sink // required
	Now   func() time.Time
}

// Cause is a step that failed by itself.
type Cause struct {
	Step string
	Err  error
}

// Failure is why a run did not reach its end.
type Failure struct {
	Causes      []Cause  // root causes; empty when the run was only interrupted
	Interrupted error    // why the caller's context ended, nil when it did not
	Stopped     []string // steps that were running and were cancelled
	Skipped     []string // steps that never ran
}

// Error names each root cause on its own line, and no consequence.
func (f *Failure) Error() string {
	var lines []string
	for _, c := range f.Causes {
		lines = append(lines, c.Step+": "+c.Err.Error())
	}
	if f.Interrupted != nil {
		lines = append(lines, f.interruption())
	}
	return strings.Join(lines, "\n")
}

func (f *Failure) interruption() string {
	text := "interrupted"
	if !errors.Is(f.Interrupted, context.Canceled) {
		text += " (" + f.Interrupted.Error() + ")"
	}
	if len(f.Stopped) > 0 {
		text += " during " + strings.Join(f.Stopped, ", ")
	}
	return text + "; what is ready stays, the same command goes on from here"
}

// Unwrap gives the causes to errors.Is and errors.As.
func (f *Failure) Unwrap() []error {
	var errs []error
	for _, c := range f.Causes {
		errs = append(errs, c.Err)
	}
	if f.Interrupted != nil {
		errs = append(errs, f.Interrupted)
	}
	return errs
}

// errSibling is the cause of a context that was cancelled because another step failed.
var errSibling = errors.New("another step failed")

// Run executes every step of the plan by the task of its name. The error is a
// *Failure, or says which steps have no task.
func Run(ctx context.Context, p *plan.Plan, tasks map[string]Task, o Options) error {
	r, err := newRunner(p, tasks, o)
	if err != nil {
		return err
	}
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.announce()
	r.startReady(inner)
	for r.running > 0 {
		done := <-r.results
		r.finish(inner, done)
		if len(r.failure.Causes) > 0 {
			cancel(errSibling)
		}
		r.startReady(inner)
	}
	return r.end(ctx)
}

// outcome is what a task returned.
type outcome struct {
	step plan.Step
	err  error
}

// runner holds the state of one run. Only Run's goroutine touches it; tasks
// send their outcomes over results.
type runner struct {
	plan    *plan.Plan
	tasks   map[string]Task
	options Options
	states  map[string]progress.State
	queue   []plan.Step // steps not started, longest way to the end first
	free    int         // cores without a step
	cores   int
	running int
	results chan outcome
	failure Failure
}

func newRunner(p *plan.Plan, tasks map[string]Task, o Options) (*runner, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Cores <= 0 {
		o.Cores = runtime.NumCPU()
	}
	steps := p.Steps()
	r := &runner{
		plan: p, tasks: tasks, options: o, cores: o.Cores, free: o.Cores,
		states: map[string]progress.State{}, queue: slices.Clone(steps), results: make(chan outcome),
	}
	var lacking []string
	for _, s := range steps {
		if tasks[s.Name] == nil {
			lacking = append(lacking, s.Name)
		}
		r.states[s.Name] = progress.Planned
	}
	if len(lacking) > 0 {
		return nil, fmt.Errorf("no task for %s", strings.Join(lacking, ", "))
	}
	slices.SortStableFunc(r.queue, func(a, b plan.Step) int {
		return cmp.Compare(p.Remaining(b.Name), p.Remaining(a.Name))
	})
	return r, nil
}

func (r *runner) announce() {
	for _, s := range r.plan.Steps() {
		r.options.Sink.Show(progress.Event{
			At: r.options.Now(), Step: s.Name, State: progress.Planned,
			After: r.plan.After(s.Name), Weight: s.Weight, ExpectedSeconds: s.Expected.Seconds(), LimitSeconds: s.Limit.Seconds(),
		})
	}
}

// startReady starts what can be started. A step that must wait for cores lets
// lighter ones pass: they are short, and idle cores help nobody.
func (r *runner) startReady(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	var rest []plan.Step
	for _, s := range r.queue {
		switch {
		case !r.reachable(s):
			rest = append(rest, s)
		case r.cost(s) > r.free:
			rest = append(rest, s)
			if r.states[s.Name] == progress.Planned {
				r.show(s, progress.Queued, nil)
			}
		default:
			r.start(ctx, s)
		}
	}
	r.queue = rest
}

func (r *runner) reachable(s plan.Step) bool {
	return !slices.ContainsFunc(r.plan.After(s.Name), func(name string) bool { return r.states[name] != progress.Ready })
}

// cost is the step's weight, at most the whole machine.
func (r *runner) cost(s plan.Step) int { return min(s.Weight, r.cores) }

func (r *runner) start(ctx context.Context, s plan.Step) {
	r.free -= r.cost(s)
	r.running++
	r.show(s, progress.Running, nil)
	say := &speaker{sink: r.options.Sink, now: r.options.Now, step: s.Name}
	go func() {
		err := limited(s, r.tasks[s.Name])(ctx, say.say)
		say.close()
		r.results <- outcome{s, err}
	}()
}

// finish notes how a step ended. An error that comes from being cancelled is a
// consequence; every other error is a root cause, also when it comes late.
func (r *runner) finish(ctx context.Context, o outcome) {
	r.running--
	r.free += r.cost(o.step)
	switch {
	case o.err == nil:
		r.show(o.step, progress.Ready, nil)
	case ctx.Err() != nil && cancelled(o.err):
		r.failure.Stopped = append(r.failure.Stopped, o.step.Name)
		r.show(o.step, progress.Stopped, nil)
	default:
		r.failure.Causes = append(r.failure.Causes, Cause{o.step.Name, o.err})
		r.show(o.step, progress.Failed, o.err)
	}
}

func cancelled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errSibling)
}

// end tells what never ran, and sums the run up.
func (r *runner) end(ctx context.Context) error {
	for _, s := range r.plan.Steps() {
		if slices.ContainsFunc(r.queue, func(q plan.Step) bool { return q.Name == s.Name }) {
			r.failure.Skipped = append(r.failure.Skipped, s.Name)
			r.show(s, progress.Skipped, nil)
		}
	}
	slices.Sort(r.failure.Stopped)
	whole := progress.Event{At: r.options.Now(), State: progress.Ready}
	slices.SortFunc(r.failure.Causes, func(a, b Cause) int { return strings.Compare(a.Step, b.Step) })
	if len(r.queue) > 0 || len(r.failure.Stopped) > 0 {
		r.failure.Interrupted = ctx.Err()
	}
	var err error
	if len(r.failure.Causes) > 0 || r.failure.Interrupted != nil {
		err = &r.failure
		whole.State, whole.Error = progress.Failed, err.Error()
	}
	r.options.Sink.Show(whole)
	return err
}

func (r *runner) show(s plan.Step, state progress.State, err error) {
	r.states[s.Name] = state
	e := progress.Event{At: r.options.Now(), Step: s.Name, State: state}
	if err != nil {
		e.Error = err.Error()
	}
	r.options.Sink.Show(e)
}
