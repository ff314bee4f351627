package follow

import (
	"bufio"
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// longestLine is how long a line of a step may be, in bytes.
const longestLine = 1 << 20

// stepKey names one container of one pod: a task that is run again has others.
type stepKey struct{ pod, container string }

// step is what was shown of one step.
type step struct {
	task, name string
	began      sync.Once     // its beginning has been shown
	read       chan struct{} // closed when its lines have all been shown
	told       chan struct{} // closed when its end has been shown
	finished   bool
}

// watchSteps shows the steps of the run until ctx ends.
func (f *follower) watchSteps(ctx context.Context, ex *v1alpha1.WorkflowExecution) {
	what := kindOf(ex)
	err := persistently(ctx, func() (bool, error) {
		w, err := f.cluster.Client.Watch(ctx, what.list(), what.scope(ex)...)
		if err != nil {
			return false, err
		}
		return drain(ctx, w, func(e watch.Event) (bool, error) {
			if e.Type != watch.Deleted {
				f.showSteps(ctx, what.steps(e.Object))
			}
			return false, nil
		})
	})
	if err != nil && ctx.Err() == nil {
		f.emit(Event{Kind: Note, Text: fmt.Sprintf("the steps cannot be shown: %v", err)})
	}
}

// showSteps shows what is new about the steps of one task. They run one after the
// other, in containers that all start at once: a step has begun when those before
// it have ended, or when it prints something.
func (f *follower) showSteps(ctx context.Context, steps []Step) {
	turn := true
	for _, s := range steps {
		if !s.Began || s.Pod == "" {
			return
		}
		known := f.known(ctx, s)
		if turn || s.Ended {
			f.stepStarted(known)
		}
		turn = s.Ended
		if s.Ended && f.ends(known) {
			f.background.Go(func() { f.stepEnded(ctx, known, s.ExitCode) })
		}
	}
}

// known returns what was shown of a step. Of a new one the lines are shown from
// now on.
func (f *follower) known(ctx context.Context, s Step) *step {
	key := stepKey{s.Pod, s.Container}
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, ok := f.steps[key]; ok {
		return known
	}
	known := &step{task: s.Task, name: s.Name, read: make(chan struct{}), told: make(chan struct{})}
	f.steps[key] = known
	f.background.Go(func() { f.lines(ctx, key, known) })
	return known
}

// ends tells, once, that the end of s has to be shown.
func (f *follower) ends(s *step) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := !s.finished
	s.finished = true
	return first
}

func (f *follower) stepStarted(s *step) {
	s.began.Do(func() { f.emit(Event{Kind: StepStarted, Task: s.task, Step: s.name}) })
}

// stepEnded tells of the end of a step after its last line.
func (f *follower) stepEnded(ctx context.Context, s *step, exitCode int32) {
	defer close(s.told)
	select {
	case <-s.read:
	case <-time.After(lastLines):
	case <-ctx.Done():
	}
	f.emit(Event{Kind: StepFinished, Task: s.task, Step: s.name, ExitCode: exitCode})
}

// lines shows what a step prints, until it ends.
func (f *follower) lines(ctx context.Context, key stepKey, s *step) {
	defer close(s.read)
	stream, err := f.cluster.Core.CoreV1().Pods(v1alpha1.WorkflowNamespace).
		GetLogs(key.pod, &corev1.PodLogOptions{Container: key.container, Follow: true}).Stream(ctx)
	if err != nil {
		f.logsMissing(ctx, s, err)
		return
	}
	defer func() { _ = stream.Close() }() // only read
	scanner := bufio.NewScanner(stream)
	scanner.Buffer(nil, longestLine)
	for scanner.Scan() {
		f.stepStarted(s)
		f.emit(Event{Kind: Log, Task: s.task, Step: s.name, Text: scanner.Text()})
	}
	if err := scanner.Err(); err != nil {
		f.logsMissing(ctx, s, err)
	}
}

func (f *follower) logsMissing(ctx context.Context, s *step, err error) {
	if ctx.Err() != nil {
		return
	}
	why := err.Error()
	if apierrors.IsNotFound(err) {
		why = "its pod is gone"
	}
	f.emit(Event{Kind: Note, Text: fmt.Sprintf("the lines of step %s of task %s cannot be read: %s", s.name, s.task, why)})
}

// lastLook shows the steps as they ended, which the watch may not have told
// yet, and waits until their ends have been shown.
func (f *follower) lastLook(ctx context.Context, ex *v1alpha1.WorkflowExecution) {
	tasks, err := StepsOf(ctx, f.cluster.Client, ex)
	if err != nil {
		return // the watch has told what it could
	}
	for _, steps := range tasks {
		f.showSteps(ctx, steps)
	}
	f.mu.Lock()
	var open []chan struct{}
	for _, s := range f.steps {
		if s.finished {
			open = append(open, s.told)
		}
	}
	f.mu.Unlock()
	for _, told := range open {
		select {
		case <-told:
		case <-ctx.Done():
			return
		}
	}
}
