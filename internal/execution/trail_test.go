package execution_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/execution"
)

// untold is an execution that has ended before the catalog said what was started.
func untold(phase v1alpha1.Phase) *v1alpha1.WorkflowExecution {
	at := metav1.NewTime(epoch.Add(time.Minute))
	ex := &v1alpha1.WorkflowExecution{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "a", UID: "u", CreationTimestamp: metav1.NewTime(epoch), Finalizers: []string{v1alpha1.ExecutionFinalizer}}}
	ex.Status = v1alpha1.WorkflowExecutionStatus{
		Phase: phase, StartTime: &at, CompletionTime: &at,
		Target:         &v1alpha1.ResolvedTarget{Key: "team/deployment.apps/api", LockedAt: &metav1.MicroTime{Time: epoch}},
		PipelineRunRef: &v1alpha1.RunReference{Namespace: v1alpha1.WorkflowNamespace, Name: "a-run", UID: "r", Engine: "tekton"},
		Conditions:     []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionFalse}},
	}
	return ex
}

func actions(events []audit.Event) []string {
	var all []string
	for _, e := range events {
		all = append(all, e.EventAction)
	}
	return all
}

// TestNothingIsToldBeforeTheStart: an end names the start before it, so it waits for
// one that cannot be told yet; who goes tells both with what is known.
func TestNothingIsToldBeforeTheStart(t *testing.T) {
	for phase, end := range map[v1alpha1.Phase]string{v1alpha1.PhaseCompleted: "completed", v1alpha1.PhaseFailed: "failed"} {
		ex := untold(phase)
		now, err := execution.Trail(ex)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"created", "locked"}, actions(now)); diff != "" {
			t.Errorf("%s: told while the catalog is away (-want +got):\n%s", phase, diff)
		}
		last, err := execution.LastTrail(ex)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"created", "locked", "started", end}, actions(last)); diff != "" {
			t.Fatalf("%s: left behind (-want +got):\n%s", phase, diff)
		}
		if data := string(last[2].EventData); !strings.Contains(data, `"name":"a-run"`) || !strings.Contains(data, `"engine":"tekton"`) || strings.Contains(data, "image") {
			t.Errorf("%s: the start tells %s", phase, data)
		}
		if data := string(last[3].EventData); !strings.Contains(data, `"preceded_by":["created","locked","started"]`) {
			t.Errorf("%s: the end tells %s", phase, data)
		}
	}
}

// TestAWorkflowThatNobodyKnowsIsToldWithoutIt: that the catalog does not have it is
// all that will ever be known of what was started.
func TestAWorkflowThatNobodyKnowsIsToldWithoutIt(t *testing.T) {
	for _, c := range []struct {
		why   string
		means execution.Workflow
		told  []string
	}{
		{"nobody answers", execution.Workflow{Unavailable: "connection refused"}, []string{"created", "locked"}},
		{"there is no such workflow", execution.Workflow{Problem: &execution.Problem{Rule: "unknown-workflow"}}, []string{"created", "locked", "started", "failed"}},
	} {
		ex := untold(v1alpha1.PhaseFailed)
		s := execution.Snapshot{Now: epoch, Execution: ex, Workflow: c.means, Run: execution.Run{State: execution.RunAbsent}}
		ex.Status = execution.Project(s, execution.Decide(s))
		events, err := execution.Trail(ex)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.told, actions(events)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.why, diff)
		}
	}
}
