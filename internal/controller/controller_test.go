package controller_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

func TestCompletedThenLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.run()
	ex := w.submit("first", func(ex *v1alpha1.WorkflowExecution) {
		ex.Spec.Parameters = map[string]string{"TOKEN": "hunter2hunter2", "MODE": "fast"}
		ex.Spec.ExecutionConfig = &v1alpha1.ExecutionConfig{Timeout: &metav1.Duration{Duration: 7 * time.Minute}}
	})
	pr := w.pipelineRun(ex)
	if got := pr.Spec.Timeouts.Pipeline.Duration; got != 7*time.Minute {
		t.Errorf("the run's timeout is %s, want 7m", got)
	}
	var params []string
	for _, p := range pr.Spec.Params {
		params = append(params, p.Name+"="+p.Value.StringVal)
	}
	want := []string{"MODE=fast", "TOKEN=hunter2hunter2", "TARGET_RESOURCE=" + w.ns + "/deployment.apps/api"}
	if diff := cmp.Diff(want, params); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
	running := w.await(ex, v1alpha1.PhaseRunning)
	if h := w.record().Status.Holder; h == nil || h.UID != ex.UID {
		t.Errorf("the holder is %+v while it runs, want %s", h, ex.UID)
	}
	if running.Status.StartTime == nil || running.Status.PipelineRunRef.UID != pr.UID {
		t.Errorf("status of the running execution: %+v", running.Status)
	}
	w.succeed(pr)
	done := w.settled(ex)
	if done.Status.Phase != v1alpha1.PhaseCompleted {
		t.Fatalf("phase is %s, want Completed: %+v", done.Status.Phase, done.Status)
	}
	if c := meta.FindStatusCondition(done.Status.Conditions, v1alpha1.ConditionAuditRecorded); c.Status != metav1.ConditionTrue {
		t.Errorf("AuditRecorded is %+v, want True", c)
	}
	if diff := cmp.Diff([]string{"created", "locked", "started", "completed"}, w.storage.actions(ex)); diff != "" {
		t.Errorf("trail (-want +got):\n%s", diff)
	}
	for _, e := range w.storage.trail(ex) {
		if strings.Contains(string(e.EventData), "hunter2") {
			t.Errorf("event %s holds the secret: %s", e.EventAction, e.EventData)
		}
	}

	again := w.settled(w.submit("again"))
	skip := again.Status.SkipDetails
	if again.Status.Phase != v1alpha1.PhaseSkipped || skip == nil || skip.Reason != v1alpha1.SkipRecentlyRemediated {
		t.Fatalf("the second execution is %s, %+v, want Skipped, RecentlyRemediated", again.Status.Phase, skip)
	}
	if left := skip.RecentRemediation.CooldownRemaining.Duration; left <= 4*time.Minute || left > 5*time.Minute {
		t.Errorf("time left is %s, want a little less than 5m", left)
	}
	if diff := cmp.Diff([]string{"created", "skipped"}, w.storage.actions(again)); diff != "" {
		t.Errorf("trail of the second (-want +got):\n%s", diff)
	}
}

func TestFailedStepBlocksUntilCleared(t *testing.T) {
	w := newWorld(t)
	w.run()
	ex := w.submit("fails")
	pr := w.pipelineRun(ex)
	tr := w.taskRun(pr)
	w.start(tr)
	w.eventually("the start of user code is latched", func() error {
		now, err := w.get(ex)
		if err == nil && !now.Status.UserCodeStarted {
			return fmt.Errorf("status: %+v", now.Status)
		}
		return err
	})
	w.fail(pr, tr, 3)
	failed := w.settled(ex)
	f := failed.Status.FailureDetails
	if failed.Status.Phase != v1alpha1.PhaseFailed || f == nil {
		t.Fatalf("phase %s, details %+v", failed.Status.Phase, f)
	}
	if f.FailedTaskName != "act" || f.FailedStepName != "main" || f.ExitCode == nil || *f.ExitCode != 3 || !f.WasExecutionFailure || f.RetrySafe {
		t.Errorf("failure details: %+v", f)
	}

	next := w.settled(w.submit("next"))
	if next.Status.SkipDetails == nil || next.Status.SkipDetails.Reason != v1alpha1.SkipPreviousExecutionFailed {
		t.Fatalf("after a failure: %s %+v, want PreviousExecutionFailed", next.Status.Phase, next.Status.SkipDetails)
	}
	rt := w.record()
	rt.Spec.ClearBlock = &v1alpha1.ClearBlock{Workflow: "heal", BlockID: next.Status.SkipDetails.BlockID, Reason: "looked at it", ClearedBy: "alice"}
	w.must(w.client.Update(t.Context(), rt))
	w.eventually("the clearing is in the audit trail", func() error {
		if c := w.record().Status.LastCleared; c == nil || !c.Recorded {
			return fmt.Errorf("last cleared: %+v", c)
		}
		return nil
	})
	through := w.submit("through")
	w.succeed(w.pipelineRun(through))
	if got := w.settled(through); got.Status.Phase != v1alpha1.PhaseCompleted {
		t.Errorf("after the clearing: %s, want Completed", got.Status.Phase)
	}
}
