package controller_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/controller"
)

// gauge is the value of a metric without labels of the controller.
func (w *world) gauge(name string) float64 {
	w.t.Helper()
	families, err := w.metrics.Gather()
	w.must(err)
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	w.t.Fatalf("no metric %s", name)
	return 0
}

func (w *world) becomes(name string, want float64) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%s becomes %v", name, want), func() error {
		if got := w.gauge(name); got != want {
			return fmt.Errorf("it is %v", got)
		}
		return nil
	})
}

// atLeastOne: what other tests have left behind is counted as well.
func (w *world) atLeastOne(name string) {
	w.t.Helper()
	w.eventually(name+" counts it", func() error {
		if got := w.gauge(name); got < 1 {
			return fmt.Errorf("it is %v", got)
		}
		return nil
	})
}

func on(target string) func(*v1alpha1.WorkflowExecution) {
	return func(ex *v1alpha1.WorkflowExecution) { ex.Spec.TargetResource = target }
}

func TestWhatIsSettledIsNotWatched(t *testing.T) {
	w := newWorld(t)
	w.run()
	options := controller.CacheOptions()
	options.Scheme = controller.Scheme()
	watched, err := cache.New(shared.kube.Config, options)
	w.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = watched.Start(ctx) }() // its end is that of ctx
	ex := w.submit("a")
	pr := w.pipelineRun(ex)
	seen := func() error { return watched.Get(ctx, client.ObjectKeyFromObject(ex), &v1alpha1.WorkflowExecution{}) }
	w.eventually("it is watched while it runs", seen)
	w.atLeastOne("workflowexecution_live")
	w.atLeastOne("workflowexecution_targets_held")
	w.succeed(pr)
	done := w.settled(ex)
	if got := done.Labels[v1alpha1.LabelSettled]; got != "Completed" {
		t.Errorf("it is marked %q, want Completed", got)
	}
	if at := done.Annotations[v1alpha1.AnnotationCompletedAt]; at != done.Status.CompletionTime.UTC().Format(time.RFC3339) {
		t.Errorf("completed at %q, status says %s", at, done.Status.CompletionTime)
	}
	w.eventually("it is not watched any more", func() error {
		if err := seen(); !apierrors.IsNotFound(err) {
			return fmt.Errorf("looking it up: %w", err)
		}
		return nil
	})
}

// One that carries the mark although it still holds its target is looked at again.
func TestAForgedMarkIsTakenOffAHolder(t *testing.T) {
	w := newWorld(t)
	w.run()
	ex := w.submit("a")
	pr := w.pipelineRun(ex)
	before := w.await(ex, v1alpha1.PhaseRunning)
	forged := before.DeepCopy()
	metav1.SetMetaDataLabel(&forged.ObjectMeta, v1alpha1.LabelSettled, "Completed")
	w.must(w.client.Patch(t.Context(), forged, client.MergeFrom(before)))
	w.succeed(pr)
	if done := w.settled(ex); done.Status.Phase != v1alpha1.PhaseCompleted {
		t.Errorf("it is %s, want Completed", done.Status.Phase)
	}
}

func TestOldExecutionsAreRemoved(t *testing.T) {
	w := newWorld(t)
	stop := w.run()
	kept := w.submit("kept")
	w.succeed(w.pipelineRun(kept))
	kept = w.settled(kept)
	skipped := w.settled(w.submit("skipped")) // within the cooldown
	stop()

	now := time.Now()
	s := controller.Sweeper{
		Client: w.client, Reader: w.client, Now: func() time.Time { return now },
		Keep: map[v1alpha1.Phase]time.Duration{v1alpha1.PhaseCompleted: 0, v1alpha1.PhaseSkipped: 2 * time.Hour},
	}
	next, err := s.Sweep(t.Context())
	w.must(err)
	if next != time.Hour {
		t.Errorf("it looks again after %s, want an hour: nothing expires earlier", next)
	}
	if _, err := w.get(skipped); err != nil {
		t.Errorf("removed too early: %v", err)
	}
	now = now.Add(119 * time.Minute)
	if next, err = s.Sweep(t.Context()); err != nil || next > 2*time.Minute {
		t.Errorf("it looks again after %s (%v), want at the end of the two hours", next, err)
	}
	now = now.Add(2 * time.Minute)
	_, err = s.Sweep(t.Context())
	w.must(err)
	if _, err := w.get(skipped); !apierrors.IsNotFound(err) {
		t.Errorf("kept too long: %v", err)
	}
	if _, err := w.get(kept); err != nil {
		t.Errorf("what is kept for ever is gone: %v", err)
	}
}

func TestAPauseKeepsBackWhatIsNew(t *testing.T) {
	w := newWorld(t)
	w.run()
	first := w.submit("first")
	pr := w.pipelineRun(first)
	pause := &v1alpha1.Pause{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.PauseName},
		Spec:       v1alpha1.PauseSpec{Paused: true, Reason: "the network is being moved", SetBy: "ada"},
	}
	w.must(w.client.Create(t.Context(), pause))
	t.Cleanup(func() { w.must(client.IgnoreNotFound(w.client.Delete(context.Background(), pause))) })
	w.becomes("workflowexecution_paused", 1)

	second := w.submit("second", on(w.ns+"/deployment/other"))
	w.eventually("it waits, and says for whom", func() error {
		now, err := w.get(second)
		if err != nil {
			return err
		}
		if wait := now.Status.Waiting; wait == nil || wait.Reason != v1alpha1.ReasonPaused || wait.Message != "nothing is started at the moment: paused by ada: the network is being moved" {
			return fmt.Errorf("waiting: %+v", wait)
		}
		return nil
	})
	w.succeed(pr) // what runs goes on
	if done := w.settled(first); done.Status.Phase != v1alpha1.PhaseCompleted {
		t.Errorf("what ran is %s", done.Status.Phase)
	}
	pause.Spec.Paused, pause.Spec.Reason = false, "it is moved"
	w.must(w.client.Update(t.Context(), pause))
	w.succeed(w.pipelineRun(second))
	w.settled(second)
}

func TestNotMoreThanMayRunAtATime(t *testing.T) {
	w := newWorld(t)
	w.cfg.Execution.MaxRunningPerNamespace = 1
	w.run()
	all := map[string]*v1alpha1.WorkflowExecution{}
	for i := range 4 {
		ex := w.submit(fmt.Sprint("e", i), on(fmt.Sprintf("%s/deployment/t%d", w.ns, i)))
		all[ex.Name] = ex
	}
	for range 4 {
		var running []*v1alpha1.WorkflowExecution
		w.eventually("the others wait", func() error {
			running = nil
			waiting := 0
			for _, ex := range all {
				now, err := w.get(ex)
				if err != nil {
					return err
				}
				switch {
				case now.Status.PipelineRunRef != nil:
					running = append(running, now)
				case now.Status.Waiting != nil && now.Status.Waiting.Reason == v1alpha1.ReasonLimitReached:
					waiting++
				}
			}
			if len(running) > 1 {
				t.Fatalf("%d run at a time", len(running))
			}
			if len(running) != 1 || waiting != len(all)-1 {
				return fmt.Errorf("%d run, %d wait, of %d", len(running), waiting, len(all))
			}
			return nil
		})
		w.succeed(w.pipelineRun(running[0]))
		w.settled(running[0])
		delete(all, running[0].Name)
	}
}

func TestStrictAuditStartsNothingWithoutTheTrail(t *testing.T) {
	w := newWorld(t)
	w.cfg.Audit.Strict = true
	w.storage.fail(nil)
	stop := w.run()
	known := w.submit("known") // from now on the workflow is known without the catalog
	w.succeed(w.pipelineRun(known))
	w.settled(known)
	w.storage.fail(errDown)
	ex := w.submit("a", on(w.ns+"/deployment/other"))
	w.eventually("it waits for the trail", func() error {
		now, err := w.get(ex)
		if err == nil && (now.Status.Waiting == nil || now.Status.Waiting.Reason != string(v1alpha1.FailureAuditUnavailable)) {
			return fmt.Errorf("waiting: %+v", now.Status.Waiting)
		}
		return err
	})
	w.atLeastOne("workflowexecution_audit_pending")
	w.storage.fail(nil)
	pr := w.pipelineRun(ex)
	if got := w.storage.actions(ex); len(got) < 2 || got[0] != "created" || got[1] != "locked" {
		t.Errorf("when the run exists the trail has %v, want created and locked", got)
	}
	w.succeed(pr)
	w.settled(ex)
	stop()
}

// While the trail is away an execution that is deleted stays for an hour; then it
// leaves its events behind and goes, and they are sent later.
func TestEventsOfADeletedExecutionAreSentLater(t *testing.T) {
	w := newWorld(t)
	stop := w.run()
	ex := w.submit("a")
	pr := w.pipelineRun(ex)
	w.await(ex, v1alpha1.PhaseRunning)
	w.storage.fail(errDown)
	w.succeed(pr)
	w.await(ex, v1alpha1.PhaseCompleted)
	w.must(w.client.Delete(t.Context(), ex))
	w.atLeastOne("workflowexecution_audit_pending")
	if _, err := w.get(ex); err != nil {
		t.Fatalf("it went without its events: %v", err)
	}
	stop()

	w.now = func() time.Time { return time.Now().Add(61 * time.Minute) }
	w.run()
	w.eventually("it goes", func() error {
		if _, err := w.get(ex); !apierrors.IsNotFound(err) {
			return fmt.Errorf("reading it: %w", err)
		}
		return nil
	})
	w.atLeastOne("workflowexecution_audit_left_behind")
	w.storage.fail(nil)
	w.eventually("its events are in the trail", func() error {
		if got := w.storage.actions(ex); fmt.Sprint(got) != "[created locked started completed]" {
			return fmt.Errorf("the trail has %v", got)
		}
		return nil
	})
	w.eventually("what kept them is gone", func() error {
		var left corev1.ConfigMapList
		err := w.client.List(t.Context(), &left, client.InNamespace(v1alpha1.SystemNamespace), client.HasLabels{v1alpha1.LabelOutbox})
		if err == nil && len(left.Items) > 0 {
			return fmt.Errorf("%d ConfigMaps", len(left.Items))
		}
		return err
	})
}

// A 409 on an event of ours is told by a metric, and nothing is sent again.
func TestAConflictInTheTrailEndsTheResending(t *testing.T) {
	w := newWorld(t)
	w.run()
	ex := w.submit("a")
	pr := w.pipelineRun(ex)
	w.await(ex, v1alpha1.PhaseRunning)
	w.storage.fail(fmt.Errorf("%w: other content", datastorage.ErrConflict))
	w.succeed(pr)
	done := w.settled(ex)
	for _, c := range done.Status.Conditions {
		if c.Type == v1alpha1.ConditionAuditRecorded && c.Reason != v1alpha1.ReasonConflictingIDs {
			t.Errorf("AuditRecorded is %s/%s, want Conflict", c.Status, c.Reason)
		}
	}
	if got := w.gauge("workflowexecution_audit_conflicts_total"); got != 1 {
		t.Errorf("%v conflicts are told, want 1", got)
	}
	w.storage.fail(nil)
	before := w.storage.count()
	w.settled(w.submit("b")) // skipped: the controller is at work
	if got := w.storage.trail(ex); len(got) != 3 {
		t.Errorf("after the conflict %d events are in the trail, want the three from before", len(got))
	}
	if w.storage.count() == before {
		t.Error("nothing was sent of the second execution")
	}
}
