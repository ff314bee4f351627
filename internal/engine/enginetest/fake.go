package enginetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/execution"
)

// Fake is an Engine in memory. What its runs do is scripted by whoever uses it.
// It is for one goroutine.
type Fake struct {
	Now func() time.Time
	// Refusal is the answer to every wish to create a run, while it is set.
	Refusal *execution.Refusal

	runs map[string]*execution.Run
}

var _ engine.Engine = (*Fake)(nil)

// NewFake returns an engine without runs.
func NewFake(now func() time.Time) *Fake {
	return &Fake{Now: now, runs: map[string]*execution.Run{}}
}

// Run is what is reported of the run of a name, to be changed as a script wants
// it; nil when there is none.
func (f *Fake) Run(name string) *execution.Run { return f.runs[name] }

// Len is how many runs there are.
func (f *Fake) Len() int { return len(f.runs) }

// Take gives the name of a run to a stranger.
func (f *Fake) Take(name string) {
	f.runs[name] = &execution.Run{
		State: execution.RunActive, Name: name, Namespace: v1alpha1.WorkflowNamespace, UID: "a-strangers", Created: f.Now(),
	}
}

func (f *Fake) create(spec engine.Spec, occupant bool) error {
	if f.Refusal != nil {
		return &engine.Refused{Refusal: *f.Refusal}
	}
	run := &execution.Run{
		State: execution.RunActive, Name: spec.Name, Namespace: v1alpha1.WorkflowNamespace, UID: uid(spec.Execution),
		Ours: true, Kept: true, Occupant: occupant, Created: f.Now(), Reason: "Started",
	}
	if occupant {
		run.Stopping = v1alpha1.CancelImmediate
	}
	f.runs[spec.Name] = run
	return nil
}

// Start creates the run, or adopts the one that exists.
func (f *Fake) Start(_ context.Context, spec engine.Spec) error {
	run := f.runs[spec.Name]
	switch {
	case run == nil || run.State == execution.RunAbsent:
		return f.create(spec, false)
	case run.UID == uid(spec.Execution):
		return nil
	}
	return engine.Stranger("run", spec.Name)
}

// Observe reports the run. There is no cache to be behind.
func (f *Fake) Observe(_ context.Context, ref engine.Ref, _ engine.Freshness) (execution.Run, error) {
	run := execution.Run{State: execution.RunAbsent, Name: ref.Name, Namespace: v1alpha1.WorkflowNamespace}
	if known := f.runs[ref.Name]; known != nil {
		run = *known
		run.Tasks, run.Alive = slices.Clone(run.Tasks), slices.Clone(run.Alive)
		run.Orphans, run.Unended = slices.Clone(run.Orphans), slices.Clone(run.Unended)
	}
	run.Fresh = true
	return run, nil
}

// Cancel asks the run to stop, or what is left of it.
func (f *Fake) Cancel(_ context.Context, ref engine.Ref, stop execution.Stop) error {
	run := f.runs[ref.Name]
	switch {
	case run == nil:
		return nil
	case run.State != execution.RunAbsent && !run.Ours:
		return fmt.Errorf("cancelling run %s: it belongs to somebody else", ref.Name)
	case run.State != execution.RunActive || run.Deleting:
		run.Orphans, run.Unended = nil, nil
		return nil
	}
	if run.Stopping != v1alpha1.CancelImmediate {
		run.Stopping = stop.Mode
	}
	if run.StopReason == "" {
		run.StopReason = stop.Reason
	}
	return nil
}

// Occupy takes a name that is free.
func (f *Fake) Occupy(_ context.Context, spec engine.Spec) error {
	if run := f.runs[spec.Name]; run != nil && run.State != execution.RunAbsent {
		return nil
	}
	return f.create(spec, true)
}

// LetGo takes our finalizer off: a run that is being deleted goes.
func (f *Fake) LetGo(_ context.Context, ref engine.Ref) error {
	run := f.runs[ref.Name]
	if run == nil || run.State != execution.RunAbsent && !run.Ours {
		return nil
	}
	if run.Kept = false; run.Deleting {
		f.vanish(run)
	}
	return nil
}

// vanish removes a run; its parts go on.
func (f *Fake) vanish(run *execution.Run) {
	*run = execution.Run{
		State: execution.RunAbsent, Name: run.Name, Namespace: run.Namespace,
		Alive: run.Alive, Orphans: slices.Clone(run.Alive), CodeStarted: len(run.Alive) > 0,
	}
	if len(run.Alive) == 0 {
		delete(f.runs, run.Name)
	}
}

// Vanish removes a run by force, finalizer and all; its parts go on.
func (f *Fake) Vanish(name string) {
	if run := f.runs[name]; run != nil {
		f.vanish(run)
	}
}

// Play makes something happen to a run.
func (f *Fake) Play(t *testing.T, ref engine.Ref, e Event) {
	t.Helper()
	if e == IsTaken {
		f.Take(ref.Name)
		return
	}
	run := f.runs[ref.Name]
	if run == nil {
		t.Fatalf("there is no run %s that %s", ref.Name, e)
	}
	switch e {
	case Begins:
		run.CodeStarted, run.TotalTasks = true, 1
		run.Alive = []string{"Pod " + ref.Name + "-pod"}
		run.Orphans = slices.Clone(run.Alive)
	case IsDeleted:
		run.Deleting = true
	case IsRemoved:
		f.Vanish(ref.Name)
	case LosesItsPod:
		run.LostChild, run.LostReason = run.Alive[0], v1alpha1.FailureExternallyDeleted
	default:
		f.end(run, e)
	}
}

// end lets a run end.
func (f *Fake) end(run *execution.Run, e Event) {
	run.Alive, run.Orphans, run.Unended = nil, nil, nil
	if run.State != execution.RunActive || run.Deleting {
		return
	}
	run.State, run.Finished, run.Reason = execution.RunFinished, f.Now(), string(e)
	switch e {
	case Succeeds:
		run.Succeeded = true
	case Fails:
		run.Tasks = []execution.Task{{Name: "act", Failed: true, Reason: "StepFailed", Steps: []execution.Step{
			{Name: "main", Created: true, Terminated: true, ExitCode: FailsWith, Reason: "Error"},
		}}}
	case TimesOut:
		run.TimedOut = true
	case Stops:
		run.Cancelled = true
	}
}

// uid is that of the run of an execution.
func uid(execution types.UID) types.UID { return "run-of-" + execution }
