package target_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/target"
)

var rules = target.Rules{Cooldown: 5 * time.Minute, BackoffBase: time.Minute, BackoffMax: 10 * time.Minute, MaxFailures: 5}

// TestWhoCameLateLeavesNoTrace: an execution that had ended when the target was taken
// for it frees the target and says nothing about it.
func TestWhoCameLateLeavesNoTrace(t *testing.T) {
	at := metav1.NewTime(time.Unix(1e9, 0))
	held := &metav1.MicroTime{Time: at.Time}
	before := v1alpha1.RemediationTargetStatus{Workflows: []v1alpha1.WorkflowHistory{{
		WorkflowID: "heal", PreExecutionFailures: 2,
		LastOutcome: &v1alpha1.Outcome{Execution: "first", Name: "team/first", Phase: v1alpha1.PhaseCompleted, At: at},
	}}}
	for _, c := range []struct {
		why     string
		phase   v1alpha1.Phase
		locked  *metav1.MicroTime
		started bool
		noted   bool
	}{
		{"it was skipped meanwhile", v1alpha1.PhaseSkipped, nil, false, false},
		{"it was found invalid meanwhile", v1alpha1.PhaseFailed, nil, false, false},
		{"it was cancelled meanwhile", v1alpha1.PhaseCancelled, nil, false, false},
		{"it held the target and failed", v1alpha1.PhaseFailed, held, false, true},
		{"code of it has started all the same", v1alpha1.PhaseCancelled, nil, true, true},
	} {
		ex := &v1alpha1.WorkflowExecution{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "late", UID: "late"}}
		ex.Spec.WorkflowRef.WorkflowID = "heal"
		ex.Status = v1alpha1.WorkflowExecutionStatus{
			Phase: c.phase, CompletionTime: &at, UserCodeStarted: c.started, Target: &v1alpha1.ResolvedTarget{Key: "team/deployment.apps/api", LockedAt: c.locked},
		}
		taken := target.Take(before, v1alpha1.Holder{UID: "late", Namespace: "team", Name: "late", WorkflowID: "heal", Since: *held})
		after := rules.Release(taken, target.OutcomeOf(ex))
		if after.Holder != nil {
			t.Errorf("%s: the target is held by %+v", c.why, after.Holder)
		}
		if noted := !cmp.Equal(before.Workflows, after.Workflows); noted != c.noted {
			t.Errorf("%s: noted %t, want %t: %+v", c.why, noted, c.noted, after.Workflows)
		}
		if !c.noted && after.Message != "free" {
			t.Errorf("%s: the record says %q", c.why, after.Message)
		}
	}
}
