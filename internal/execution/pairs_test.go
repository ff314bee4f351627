package execution

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// reasons make a rule apply to a snapshot of its stage.
type reasons map[string]func(*Snapshot)

func holder(uid, name string) *v1alpha1.Holder {
	return &v1alpha1.Holder{UID: types.UID(uid), Namespace: "team", Name: name, WorkflowID: "heal", Since: metav1.NewMicroTime(noon)}
}

func past() *Snapshot {
	ex := &v1alpha1.WorkflowExecution{ObjectMeta: metav1.ObjectMeta{
		Namespace: "team", Name: "a", UID: "me", Finalizers: []string{v1alpha1.ExecutionFinalizer}, CreationTimestamp: metav1.NewTime(noon),
	}}
	ex.Spec.WorkflowRef.WorkflowID = "heal"
	return &Snapshot{
		Now: noon.Add(time.Minute), Execution: ex, Policy: Policy{Timeout: 30 * time.Minute, MaxWait: 15 * time.Minute},
		Workflow: Workflow{Resolved: &v1alpha1.ResolvedWorkflow{}}, Target: Target{Key: "team/deployment.apps/web", Record: "r", Fresh: true},
		Run: Run{State: RunAbsent, Name: "a-run", Fresh: true},
	}
}

func history(s *Snapshot) *v1alpha1.WorkflowHistory {
	if len(s.Target.Status.Workflows) == 0 {
		s.Target.Status.Workflows = []v1alpha1.WorkflowHistory{{WorkflowID: "heal"}}
	}
	return &s.Target.Status.Workflows[0]
}

func later() *metav1.Time {
	t := metav1.NewTime(noon.Add(time.Hour))
	return &t
}

var whileWaiting = reasons{
	"gone":                   func(s *Snapshot) { s.Execution.DeletionTimestamp, s.Execution.Finalizers = later(), nil },
	"no-finalizer":           func(s *Snapshot) { s.Execution.Finalizers = nil },
	"cancelled-before-start": func(s *Snapshot) { s.Execution.Spec.Cancel = &v1alpha1.CancelRequest{Mode: v1alpha1.CancelGraceful} },
	"invalid":                func(s *Snapshot) { s.Target.Problem = &Problem{Rule: "invalid-target"} },
	"catalog-unavailable":    func(s *Snapshot) { s.Workflow.Resolved = nil },
	"target-held":            func(s *Snapshot) { s.Target.Status.Holder = holder("other", "b") },
	"blocked":                func(s *Snapshot) { history(s).Block = &v1alpha1.Block{Reason: v1alpha1.SkipPreviousExecutionFailed} },
	"backoff":                func(s *Snapshot) { history(s).NextAllowedTime = later() },
	"cooldown":               func(s *Snapshot) { history(s).CooldownUntil, history(s).LastOutcome = later(), &v1alpha1.Outcome{} },
	"others-first":           func(s *Snapshot) { s.Target.Ahead = []Waiter{{Name: "team/c", WorkflowID: "drain"}} },
	"paused":                 func(s *Snapshot) { s.Policy.Paused = "alice: maintenance" },
	"limit-reached":          func(s *Snapshot) { s.Policy.MaxRunning, s.Policy.Running = 1, 1 },
	"audit-strict":           func(s *Snapshot) { s.Policy.AuditStrict = true },
	"target-free":            func(*Snapshot) {},
}

func active(s *Snapshot) *Run {
	if s.Run.State == RunAbsent {
		s.Run.State, s.Run.Ours, s.Run.Created = RunActive, true, noon
	}
	return &s.Run
}

var whileHolding = reasons{
	"engine-absent": func(s *Snapshot) { s.Run.Unasked = "Tekton Pipelines is not installed" },
	"stranger":      func(s *Snapshot) { active(s).Ours = false },
	"ending-withdrawn": func(s *Snapshot) {
		s.Execution.Status.Waiting = &v1alpha1.Waiting{Reason: v1alpha1.ReasonEnding}
	},
	"run-finished": func(s *Snapshot) { active(s).State = RunFinished },
	"run-gone":     func(s *Snapshot) { s.Run.Deleting = true; s.Execution.Status.PipelineRunRef = &v1alpha1.RunReference{} },
	"part-lost":    func(s *Snapshot) { active(s).LostChild = "Pod p" },
	"cancel-requested": func(s *Snapshot) {
		s.Execution.Spec.Cancel = &v1alpha1.CancelRequest{Mode: v1alpha1.CancelGraceful}
	},
	"overdue": func(s *Snapshot) { active(s).Created = noon.Add(-time.Hour) },
	"run-hopeless": func(s *Snapshot) {
		active(s).Hold = &Hold{Reason: v1alpha1.FailureImagePullBackOff, Hopeless: true}
		s.Execution.Status.Waiting = &v1alpha1.Waiting{Reason: string(v1alpha1.FailureImagePullBackOff)}
	},
	"start-refused": func(s *Snapshot) { s.Run.Refused = &Refusal{Reason: v1alpha1.FailureForbidden} },
	"start-overdue": func(s *Snapshot) {
		s.Target.Status.Holder.Since = metav1.NewMicroTime(noon.Add(-time.Hour))
		if s.Run.Refused == nil {
			s.Run.Refused = &Refusal{Reason: v1alpha1.FailureUnknown, Passing: true}
		}
	},
	"workflow-unknown": func(s *Snapshot) { s.Workflow.Resolved = nil },
	"lock-unrecorded":  func(s *Snapshot) { s.Policy.AuditStrict = true },
	"not-started":      func(*Snapshot) {},
	"run-waits":        func(s *Snapshot) { active(s).Hold = &Hold{Reason: v1alpha1.FailureResourceExhausted} },
	"still-running":    func(s *Snapshot) { active(s) },
}

var whenEnded = reasons{
	"run-unknown":      func(s *Snapshot) { s.Run.Unasked = "Tekton"; s.Target.Status.Holder = holder("me", "a") },
	"run-still-active": func(s *Snapshot) { active(s) },
	"run-stopping":     func(s *Snapshot) { s.Run.Alive = []string{"Pod p"}; s.Target.Status.Holder = holder("me", "a") },
	"run-never-seen":   func(s *Snapshot) { s.Target.Status.Holder = holder("me", "a") },
	"release":          func(s *Snapshot) { s.Target.Status.Holder = holder("me", "a") },
	"run-deleted":      func(s *Snapshot) { active(s).Deleting, s.Run.Kept = true, true },
	"audit-overdue": func(s *Snapshot) {
		long := metav1.NewTime(noon.Add(-2 * time.Hour))
		s.Execution.DeletionTimestamp = &long
		audited(s, metav1.ConditionFalse)
	},
	"audit-incomplete":  func(s *Snapshot) { audited(s, metav1.ConditionFalse) },
	"no-longer-waiting": func(s *Snapshot) { s.Execution.Status.Waiting = &v1alpha1.Waiting{} },
	"done":              func(s *Snapshot) { audited(s, metav1.ConditionTrue) },
}

func audited(s *Snapshot, status metav1.ConditionStatus) {
	all := &s.Execution.Status.Conditions
	if len(*all) == 1 {
		*all = append(*all, metav1.Condition{Type: v1alpha1.ConditionAuditRecorded})
	}
	if c := &(*all)[1]; c.Status != metav1.ConditionFalse {
		c.Status = status
	}
}

// TestCompetingRules lets every two rules of a stage apply to one snapshot, where
// both can, and looks which of them decides. The pairs stand in a file that is
// read like one: what wins, and what it wins over.
func TestCompetingRules(t *testing.T) {
	var all strings.Builder
	for _, stage := range []struct {
		name  string
		rules []rule
		why   reasons
		base  func(*Snapshot)
	}{
		{"ended", ended, whenEnded, func(s *Snapshot) {
			s.Execution.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionFalse}}
		}},
		{holdingStage, holding, whileHolding, func(s *Snapshot) { s.Target.Status.Holder = holder("me", "a") }},
		{"waiting", waiting, whileWaiting, func(*Snapshot) {}},
	} {
		for i, first := range stage.rules {
			var over []string
			for _, second := range stage.rules[i+1:] {
				if compete(t, stage.base, stage.why, first, second) {
					over = append(over, second.name)
				}
			}
			if len(over) > 0 {
				fmt.Fprintf(&all, "%-8s %-23s before %s\n", stage.name, first.name, strings.Join(over, ", "))
			}
		}
	}
	const golden = "testdata/pairs.golden"
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(golden, []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), all.String()); diff != "" {
		t.Errorf("other rules compete (-want +got):\n%s", diff)
	}
}

// compete says whether both rules can apply at once; then the first has to decide.
func compete(t *testing.T, base func(*Snapshot), why reasons, first, second rule) bool {
	t.Helper()
	for _, order := range [][]string{{first.name, second.name}, {second.name, first.name}} {
		s := past()
		base(s)
		for _, name := range order {
			apply, known := why[name]
			if !known {
				t.Fatalf("nothing is known that makes rule %s apply", name)
			}
			apply(s)
		}
		_, one := first.decide(*s)
		_, two := second.decide(*s)
		if !one || !two {
			continue
		}
		if d := Decide(*s); !strings.HasPrefix(d.Rule, first.name) && !earlier(d.Rule, first.name) {
			t.Errorf("of %s and %s, %s decides", first.name, second.name, d.Rule)
		}
		return true
	}
	return false
}

// earlier: a rule before both applies as well.
func earlier(rule, than string) bool {
	names := RuleNames()
	at := func(name string) int {
		for i, n := range names {
			if strings.HasPrefix(name, n) {
				return i
			}
		}
		return len(names)
	}
	return at(rule) < at(than)
}

// TestWhoIsSilentIsLookedAtAgain: one that nobody has looked at yet may turn out not
// to wait, and then wakes nobody.
func TestWhoIsSilentIsLookedAtAgain(t *testing.T) {
	for _, silent := range []bool{false, true} {
		s := past()
		s.Execution.Spec.OnBusy = v1alpha1.OnBusyWait
		s.Target.Ahead = []Waiter{{Name: "team/c", WorkflowID: "drain", Silent: silent}}
		d := Decide(*s)
		if d.Waiting == nil || d.Waiting.For != "team/c" || (d.Recheck <= retryRecheck) != silent {
			t.Errorf("silent %t: waiting %+v, looked at again after %s", silent, d.Waiting, d.Recheck)
		}
	}
}
