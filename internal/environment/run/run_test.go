package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/progress"
)

func thing(name string) plan.Object { return plan.Object{Kind: "Thing", Name: name} }

// step provides the thing of its own name and needs the things named.
func step(name string, seconds, weight int, needs ...string) plan.Step {
	s := plan.Step{Name: name, Weight: weight, Expected: time.Duration(seconds) * time.Second, Provides: []plan.Object{thing(name)}}
	for _, n := range needs {
		s.Needs = append(s.Needs, plan.Need{Of: thing(n)})
	}
	return s
}

// takes is a task that needs as long as its step is expected to.
func takes(d time.Duration) Task {
	return func(ctx context.Context, say func(string)) error {
		select {
		case <-ctx.Done():
			return fmt.Errorf("working: %w", context.Cause(ctx))
		case <-time.After(d):
			return nil
		}
	}
}

func fails(after time.Duration, text string) Task {
	return func(context.Context, func(string)) error {
		<-time.After(after)
		return errors.New(text)
	}
}

type world struct {
	t     *testing.T
	plan  *plan.Plan
	tasks map[string]Task
	rec   *progress.Recorder
	cores int
}

func newWorld(t *testing.T, cores int, steps ...plan.Step) world {
	t.Helper()
	p, err := plan.Of(steps...)
	if err != nil {
		t.Fatal(err)
	}
	w := world{t: t, plan: p, tasks: map[string]Task{}, rec: &progress.Recorder{}, cores: cores}
	for _, s := range steps {
		w.tasks[s.Name] = takes(s.Expected)
	}
	return w
}

func (w world) run(ctx context.Context) error {
	return Run(ctx, w.plan, w.tasks, Options{Cores: w.cores, Sink: w.rec})
}

// story is what happened, in order: "4s a ready".
func (w world) story(states ...progress.State) []string {
	var lines []string
	events := w.rec.Events()
	for _, e := range events {
		if e.Step != "" && slices.Contains(states, e.State) && e.Note == "" {
			lines = append(lines, fmt.Sprintf("%.0fs %s %s", e.At.Sub(events[0].At).Seconds(), e.Step, e.State))
		}
	}
	return lines
}

func TestAsParallelAsTheGraphAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2,
			step("a", 1, 0), step("b", 3, 0), step("c", 2, 0, "a"), step("d", 1, 0, "b", "c"))
		if err := w.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := w.story(progress.Running, progress.Ready)
		slices.Sort(got)
		want := []string{"0s a running", "0s b running", "1s a ready", "1s c running", "3s b ready", "3s c ready", "3s d running", "4s d ready"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLongestWayToTheEndGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1,
			step("short", 1, 1), step("kubernetes", 2, 1), step("cluster", 9, 0, "kubernetes"), step("tekton", 5, 1))
		if err := w.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []string{"0s kubernetes running", "2s cluster running", "2s tekton running", "7s short running"}
		got := w.story(progress.Running)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWeightsNeverExceedTheCores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2,
			step("a", 1, 1), step("b", 1, 1), step("c", 2, 2), step("d", 1, 1), step("huge", 3, 8), step("light", 1, 0))
		var mu sync.Mutex
		busy, most := 0, 0
		for _, s := range w.plan.Steps() {
			weight, work := min(s.Weight, 2), takes(s.Expected)
			w.tasks[s.Name] = func(ctx context.Context, say func(string)) error {
				mu.Lock()
				busy += weight
				most = max(most, busy)
				mu.Unlock()
				err := work(ctx, say)
				mu.Lock()
				busy -= weight
				mu.Unlock()
				return err
			}
		}
		if err := w.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if most != 2 {
			t.Errorf("up to %d cores were busy at once, want 2", most)
		}
		if first := w.story(progress.Queued)[0]; first != "0s c queued" {
			t.Errorf("first to be queued: %s, want c", first)
		}
	})
}

func TestOnlyRootCausesAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2,
			step("a", 1, 0), step("b", 9, 0), step("late", 2, 0), step("c", 1, 0, "a"), step("d", 1, 0, "c", "b"))
		w.tasks["a"] = fails(time.Second, "the password is wrong")
		w.tasks["late"] = fails(2*time.Second, "the disk is full")
		err := w.run(t.Context())
		var failure *Failure
		if !errors.As(err, &failure) {
			t.Fatalf("got %v", err)
		}
		if diff := cmp.Diff("a: the password is wrong\nlate: the disk is full", err.Error()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"b"}, failure.Stopped); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"c", "d"}, failure.Skipped); diff != "" {
			t.Error(diff)
		}
		want := []string{"1s a failed", "1s b stopped", "2s late failed"}
		if diff := cmp.Diff(want, w.story(progress.Failed, progress.Stopped)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAStepsOwnDeadlineIsARootCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, step("a", 1, 0))
		w.tasks["a"] = func(ctx context.Context, _ func(string)) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			<-ctx.Done()
			return fmt.Errorf("not ready after 1s: %w", ctx.Err())
		}
		if err := w.run(t.Context()); err == nil || err.Error() != "a: not ready after 1s: context deadline exceeded" {
			t.Errorf("got %v", err)
		}
	})
}

func TestAStepIsStuckAtItsLimitAndSaysHowToWaitLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := step("a", 4, 0)
		slow.Limit = 20 * time.Second
		w := newWorld(t, 2, slow, step("b", 9, 0))
		w.tasks["a"] = func(ctx context.Context, _ func(string)) error {
			<-ctx.Done()
			return fmt.Errorf("waiting for the node: %w", ctx.Err())
		}
		err := w.run(t.Context())
		want := "a: waiting for the node: context deadline exceeded\n" +
			"stuck: not done within 20.0s; it usually takes 4.0s; if this machine is only slow: --timeout a=40s"
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		var stuck *Stuck
		if !errors.As(err, &stuck) || stuck.Step != "a" {
			t.Errorf("the failure does not say which step is stuck: %v", err)
		}
	})
}

func TestAStepThatFailsBeforeItsLimitIsNotStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick := step("a", 4, 0)
		quick.Limit = 20 * time.Second
		w := newWorld(t, 2, quick)
		w.tasks["a"] = fails(time.Second, "the disk is full")
		if err := w.run(t.Context()); err == nil || err.Error() != "a: the disk is full" {
			t.Errorf("got %v", err)
		}
	})
}

func TestInterruptEndsWithOneClearMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := newWorld(t, 2, step("a", 1, 0), step("b", 9, 0), step("c", 9, 0, "a"), step("d", 1, 0, "c"))
		time.AfterFunc(2*time.Second, cancel)
		err := w.run(ctx)
		want := "interrupted during b, c; what is ready stays, the same command goes on from here"
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if !errors.Is(err, context.Canceled) {
			t.Error("the error does not say that it was cancelled")
		}
		last := w.rec.Events()[len(w.rec.Events())-1]
		if last.Step != "" || last.State != progress.Failed {
			t.Errorf("last event: %+v", last)
		}
	})
}

func TestInterruptAfterTheLastStepIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := newWorld(t, 2, step("a", 1, 0))
		w.tasks["a"] = func(context.Context, func(string)) error { cancel(); return nil }
		if err := w.run(ctx); err != nil {
			t.Errorf("everything is ready, and yet: %v", err)
		}
	})
}

func TestNotesOfATaskThatHasReturnedAreNotShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, step("a", 1, 0), step("b", 3, 0))
		w.tasks["a"] = func(_ context.Context, say func(string)) error {
			say("first")
			say("first")
			time.AfterFunc(time.Second, func() { say("from beyond") })
			return nil
		}
		if err := w.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		var notes []string
		for _, e := range w.rec.Events() {
			if e.Note != "" {
				notes = append(notes, e.Note)
			}
		}
		if diff := cmp.Diff([]string{"first"}, notes); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAStepWithoutATaskIsRefused(t *testing.T) {
	w := newWorld(t, 2, step("a", 1, 0), step("b", 1, 0))
	delete(w.tasks, "b")
	if err := w.run(t.Context()); err == nil || err.Error() != "no task for b" {
		t.Errorf("got %v", err)
	}
}
