package controller_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
)

var errCrashed = errors.New("the controller has crashed")

// crash is a client that writes a number of times and then never again, as if the
// process had been killed right before or right after its next write.
type crash struct {
	client.Client
	left   *atomic.Int64
	after  bool // the last write arrives, its answer does not
	writes *ledger
	dead   func()
}

// ledger notes what was written.
type ledger struct {
	mu    sync.Mutex
	lines []string
}

func (l *ledger) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (c crash) write(what string, write func() error) error {
	left := c.left.Add(-1)
	switch {
	case left > 0:
		c.writes.note("%s", what)
		return write()
	case left == 0 && c.after:
		c.writes.note("%s", what)
		_ = write() // nobody learns whether it arrived
	}
	c.dead()
	return errCrashed
}

func (c crash) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	return c.write(fmt.Sprintf("create %T", obj), func() error { return c.Client.Create(ctx, obj, opts...) })
}

func (c crash) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	return c.write(fmt.Sprintf("patch %T", obj), func() error { return c.Client.Patch(ctx, obj, patch, opts...) })
}

func (c crash) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	return c.write(fmt.Sprintf("delete %T", obj), func() error { return c.Client.Delete(ctx, obj, opts...) })
}

func (c crash) Status() client.SubResourceWriter { return crashStatus{c.Client.Status(), c} }

type crashStatus struct {
	client.SubResourceWriter
	crash crash
}

func (s crashStatus) Update(ctx context.Context, obj client.Object, opts ...client.SubResourceUpdateOption) error {
	return s.crash.write(fmt.Sprintf("status %T", obj), func() error { return s.SubResourceWriter.Update(ctx, obj, opts...) })
}

func (s crashStatus) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	return s.crash.write(fmt.Sprintf("status %T", obj), func() error { return s.SubResourceWriter.Patch(ctx, obj, patch, opts...) })
}

// TestCrashBetweenAnyTwoWrites runs a succeeding and a failing execution, each time
// with a controller that dies at another write, and a second one that goes on.
func TestCrashBetweenAnyTwoWrites(t *testing.T) {
	for _, ending := range []string{"succeeds", "fails"} {
		for _, after := range []bool{false, true} {
			for nth := int64(1); ; nth++ {
				var all []string
				ok := t.Run(fmt.Sprintf("%s/after=%t/write=%d", ending, after, nth), func(t *testing.T) {
					all = crashAt(t, ending, nth, after)
				})
				if !ok || int64(len(all)) < nth-1 || nth > 12 {
					break
				}
			}
		}
	}
}

// crashAt returns the writes of the controller that died.
func crashAt(t *testing.T, ending string, nth int64, after bool) []string {
	w := newWorld(t)
	left := atomic.Int64{}
	left.Store(nth)
	died := make(chan struct{})
	writes := &ledger{}
	stop := w.run(func(c client.Client) client.Client {
		return crash{c, &left, after, writes, sync.OnceFunc(func() { close(died) })}
	})
	w.tend = func() {
		select {
		case <-died:
			stop()
			w.tend = nil
			w.run()
		default:
		}
	}
	ex := w.submit("victim")
	pr := w.pipelineRun(ex)
	want := []string{"created", "locked", "started", "completed"}
	if ending == "succeeds" {
		w.succeed(pr)
	} else {
		want[3] = "failed"
		tr := w.taskRun(pr)
		w.start(tr)
		w.fail(pr, tr, 1)
	}
	done := w.settled(ex)
	if diff := cmp.Diff(want, w.storage.actions(ex)); diff != "" {
		t.Errorf("trail (-want +got):\n%s", diff)
	}
	if h := w.record().Status.Holder; h != nil {
		t.Errorf("the target is still held by %s", h.Name)
	}
	phase := map[string]v1alpha1.Phase{"succeeds": v1alpha1.PhaseCompleted, "fails": v1alpha1.PhaseFailed}[ending]
	if done.Status.Phase != phase {
		t.Errorf("phase %s, want %s", done.Status.Phase, phase)
	}
	return writes.lines
}

// TestTwoControllersOneTarget: without leader election two controllers race for
// the same executions and the same target. There is never more than one live run, and
// who came first runs first, also of those that came while no controller was there.
func TestTwoControllersOneTarget(t *testing.T) {
	w := newWorld(t)
	w.cfg.Execution.Cooldown.Duration = 0
	const count = 12
	var all []*v1alpha1.WorkflowExecution
	for i := range count {
		spelled := []string{"deployment", "Deployments.apps"}[i%2] // it is one target
		all = append(all, w.submit(fmt.Sprintf("e%d", i), waiting, on(w.ns+"/"+spelled+"/api")))
	}
	w.run()
	w.run()
	runs := map[string]bool{}
	var order []string
	for len(runs) < count {
		var live []pipelinev1.PipelineRun
		w.eventually("another run is live", func() error {
			live = w.live()
			if len(live) == 0 {
				return errors.New("none is")
			}
			return nil
		})
		if len(live) > 1 {
			t.Fatalf("%d runs are live at once: %s, %s", len(live), live[0].Name, live[1].Name)
		}
		if runs[live[0].Name] {
			t.Fatalf("run %s is there twice", live[0].Name)
		}
		runs[live[0].Name] = true
		order = append(order, live[0].Annotations[v1alpha1.AnnotationExecution])
		w.succeed(&live[0])
	}
	slices.SortFunc(all, func(a, b *v1alpha1.WorkflowExecution) int {
		if n := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); n != 0 {
			return n
		}
		return strings.Compare(string(a.UID), string(b.UID))
	})
	var want []string
	for _, ex := range all {
		want = append(want, w.ns+"/"+ex.Name)
		if got := w.settled(ex); got.Status.Phase != v1alpha1.PhaseCompleted {
			t.Errorf("%s is %s, want Completed", ex.Name, got.Status.Phase)
		}
		if !runs[engine.NameFor(ex)] {
			t.Errorf("%s had no run", ex.Name)
		}
		if diff := cmp.Diff([]string{"created", "locked", "started", "completed"}, w.storage.actions(ex)); diff != "" {
			t.Errorf("trail of %s (-want +got):\n%s", ex.Name, diff)
		}
	}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("order of the runs (-first come +got):\n%s", diff)
	}
}

// live are the unfinished runs on the world's target.
func (w *world) live() []pipelinev1.PipelineRun {
	w.t.Helper()
	var all pipelinev1.PipelineRunList
	w.must(w.client.List(w.t.Context(), &all, client.InNamespace(v1alpha1.WorkflowNamespace)))
	return slices.DeleteFunc(all.Items, func(pr pipelinev1.PipelineRun) bool {
		return pr.IsDone() || pr.Annotations[v1alpha1.AnnotationTarget] != w.ns+"/deployment.apps/api"
	})
}
