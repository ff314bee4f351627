// Package follow watches one execution while it happens: its phases, the tasks
// and steps of its run, and the lines they print.
//
//	WorkflowExecution ─┐
//	TaskRuns, or pods ─┼─► Event ─► whoever shows it
//	logs of steps ─────┘
//
// It polls nothing. A watch that breaks is opened again.
package follow

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/connect"
)

// Kind says what an Event is about.
type Kind string

// The kinds of events.
const (
	Phase        Kind = "phase"   // Execution is in another phase
	Waiting      Kind = "waiting" // Execution waits for something else than before
	StepStarted  Kind = "step-started"
	StepFinished Kind = "step-finished" // ExitCode is set
	Log          Kind = "log"           // Text is a line that Step printed
	Note         Kind = "note"          // Text tells of something that cannot be shown
)

// Event is one fact about an execution that was not known before.
type Event struct {
	At         time.Time
	Kind       Kind
	Execution  *v1alpha1.WorkflowExecution // for Phase and Waiting
	Task, Step string                      // for StepStarted, StepFinished and Log
	ExitCode   int32
	Text       string
}

// lastLines is how long the end of an execution is held back for the last lines
// of its steps, which arrive by another way.
const lastLines = 5 * time.Second

// windingDown is how long after its end an execution may hold its target before
// nobody waits for that any more.
const windingDown = 30 * time.Second

// Execution follows the execution named key until it has ended and its target is
// free, or ctx ends, and returns it as it was seen last. show is called for one
// event at a time.
func Execution(ctx context.Context, c *connect.Cluster, key client.ObjectKey, show func(Event)) (*v1alpha1.WorkflowExecution, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &follower{cluster: c, show: show, steps: map[stepKey]*step{}}
	defer f.background.Wait() // nothing is shown after we returned
	defer cancel()

	var seen *v1alpha1.WorkflowExecution
	err := watchOne(ctx, c.Client, key, func(ex *v1alpha1.WorkflowExecution) (bool, error) {
		f.execution(ctx, seen, ex)
		seen = ex
		return Ended(ex), nil
	})
	if seen != nil && Ended(seen) {
		f.finish(ctx, seen)
		return f.release(ctx, key, seen)
	}
	if apierrors.IsNotFound(err) {
		return seen, fmt.Errorf("there is no execution %s in namespace %s; see: kubernaut get -n %s", key.Name, key.Namespace, key.Namespace)
	}
	return seen, err
}

// release waits until the target of an execution that has ended is free again.
// That takes about as long as the last pod of the run; when it takes longer, a
// note says what for.
func (f *follower) release(ctx context.Context, key client.ObjectKey, ended *v1alpha1.WorkflowExecution) (*v1alpha1.WorkflowExecution, error) {
	if Free(ended) {
		return ended, nil
	}
	ctx, cancel := context.WithTimeout(ctx, windingDown)
	defer cancel()
	err := watchOne(ctx, f.cluster.Client, key, func(ex *v1alpha1.WorkflowExecution) (bool, error) {
		ended = ex
		return Free(ex), nil
	})
	if err != nil && ended.Status.Waiting != nil {
		f.emit(Event{Kind: Note, Text: "the target is still held: " + ended.Status.Waiting.Message})
	}
	return ended, nil // how it ended does not depend on that
}

// Free tells whether an execution that has ended holds its target no more.
func Free(ex *v1alpha1.WorkflowExecution) bool {
	return ex.Status.Waiting == nil || !slices.Contains(ex.Finalizers, v1alpha1.ExecutionFinalizer)
}

// Ended tells whether ex has come to its end.
func Ended(ex *v1alpha1.WorkflowExecution) bool {
	switch ex.Status.Phase {
	case v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed, v1alpha1.PhaseSkipped, v1alpha1.PhaseCancelled:
		return true
	}
	return false
}

type follower struct {
	cluster *connect.Cluster

	mu         sync.Mutex // guards show and what follows
	show       func(Event)
	secrets    masker
	steps      map[stepKey]*step
	watching   string // name of the run whose tasks are watched
	background sync.WaitGroup
}

func (f *follower) emit(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.At = time.Now()
	if e.Kind == Log { // what the status says has been masked where it was known what is secret
		e.Text = f.secrets.mask(e.Text)
	}
	f.show(e)
}

// execution shows what is new about ex and begins to watch its run. The end is
// not shown yet: finish does, after the last lines.
func (f *follower) execution(ctx context.Context, before, ex *v1alpha1.WorkflowExecution) {
	f.mu.Lock()
	f.secrets = secretsOf(ex)
	f.mu.Unlock()
	if (before == nil || before.Status.Phase != ex.Status.Phase) && !Ended(ex) && ex.Status.Phase != "" {
		f.emit(Event{Kind: Phase, Execution: ex})
	}
	if w := ex.Status.Waiting; w != nil && w.Reason != v1alpha1.ReasonEnding && (before == nil || before.Status.Waiting == nil || *before.Status.Waiting != *w) {
		f.emit(Event{Kind: Waiting, Execution: ex, Text: w.Message})
	}
	ref := ex.Status.PipelineRunRef
	if ref == nil || f.watching != "" {
		return
	}
	f.watching = ref.Name
	f.background.Go(func() { f.watchSteps(ctx, ex) })
}

// finish shows the last lines and then the end.
func (f *follower) finish(ctx context.Context, ex *v1alpha1.WorkflowExecution) {
	if ex.Status.PipelineRunRef != nil {
		f.lastLook(ctx, ex)
	}
	f.emit(Event{Kind: Phase, Execution: ex})
}
