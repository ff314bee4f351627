package controller

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/execution"
)

// TestWhatNobodyDeclaredIsSecret: of a run that has failed only the values are told
// that its workflow is known to declare as no secrets.
func TestWhatNobodyDeclaredIsSecret(t *testing.T) {
	declared := &v1alpha1.ResolvedWorkflow{Engine: "tekton", Registered: true, Parameters: []v1alpha1.DeclaredParameter{{Name: "MODE"}, {Name: "TOKEN", Secret: true}}}
	for _, c := range []struct {
		why   string
		means execution.Workflow
		shown bool // the value that is no secret
	}{
		{"the catalog is away", execution.Workflow{Unavailable: "connection refused"}, false},
		{"the catalog has no such workflow", execution.Workflow{Problem: &execution.Problem{Rule: "unknown-workflow"}}, false},
		{"it is not registered", execution.Workflow{Resolved: &v1alpha1.ResolvedWorkflow{Engine: "tekton"}}, false},
		{"it is known", execution.Workflow{Resolved: declared}, true},
	} {
		ex := &v1alpha1.WorkflowExecution{}
		ex.UID, ex.Finalizers = "u", []string{v1alpha1.ExecutionFinalizer}
		ex.Spec.Parameters = map[string]string{"TOKEN": "hunter2hunter2", "MODE": "careful"}
		s := execution.Snapshot{
			Now: time.Unix(1e9, 0), Execution: ex, Workflow: c.means,
			Target: execution.Target{Key: "team/deployment.apps/api", Record: "r", Fresh: true, Status: v1alpha1.RemediationTargetStatus{
				Holder: &v1alpha1.Holder{UID: "u", Engine: "tekton", Since: metav1.MicroTime{Time: time.Unix(1e9-60, 0)}},
			}},
			Run: execution.Run{
				State: execution.RunFinished, Ours: true, Fresh: true, CodeStarted: true, Name: "run", Engine: "tekton",
				Reason: "Failed", Message: "mode careful, token hunter2hunter2", Created: time.Unix(1e9-50, 0), Finished: time.Unix(1e9-1, 0),
			},
			Evidence: []string{"logging in with hunter2hunter2", "mode careful"},
		}
		if err := (&Reconciler{}).observeSecrets(t.Context(), &s); err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(execution.Project(s, execution.Decide(s)))
		if err != nil {
			t.Fatal(err)
		}
		told := string(raw)
		if strings.Contains(told, "hunter2") || !strings.Contains(told, "***") || !strings.Contains(told, `"phase":"Failed"`) {
			t.Errorf("%s: a secret is told, or nothing: %s", c.why, told)
		}
		if shown := strings.Contains(told, "careful"); shown != c.shown {
			t.Errorf("%s: a value that is no secret is told: %t, want %t", c.why, shown, c.shown)
		}
	}
}

// TestAHolderWaitsForItsEngine: while an engine is not there nothing is known of its
// runs, and that is said.
func TestAHolderWaitsForItsEngine(t *testing.T) {
	for _, ends := range []bool{false, true} {
		engines := engine.SetOf(map[string]engine.Engine{})
		engines.Lack("tekton", "Tekton Pipelines is not installed in this cluster")
		ex := &v1alpha1.WorkflowExecution{}
		if ends {
			ex = ended(v1alpha1.PhaseFailed)
		}
		ex.UID, ex.Finalizers = "u", []string{v1alpha1.ExecutionFinalizer}
		s := execution.Snapshot{Now: time.Unix(1e9, 0), Execution: ex}
		s.Target.Status.Holder = &v1alpha1.Holder{UID: "u", Engine: "tekton"}
		if err := (&Reconciler{Engines: engines}).observeRun(t.Context(), &s); err != nil {
			t.Fatal(err)
		}
		d := execution.Decide(s)
		w := execution.Project(s, d).Waiting
		if w == nil || w.Reason != v1alpha1.ReasonEngineAbsent || w.For != "tekton" || !strings.Contains(w.Message, "is not installed") || d.Recheck == 0 {
			t.Errorf("ended %t: waiting %+v, looked at again after %s; want a wait for tekton", ends, w, d.Recheck)
		}
	}
}
