package controller

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

type silent struct{}

func (silent) Changed(_, _ *v1alpha1.WorkflowExecution) {}

func ended(phase v1alpha1.Phase) *v1alpha1.WorkflowExecution {
	ex := &v1alpha1.WorkflowExecution{}
	ex.Status.Phase = phase
	ex.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue}}
	return ex
}

// gathered are the values of all series: a histogram's is the number of its samples.
func gathered(t *testing.T, r prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += fmt.Sprintf("{%s=%s}", l.GetName(), l.GetValue())
			}
			switch {
			case m.GetCounter() != nil:
				values[name] = m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				values[name] = m.GetGauge().GetValue()
			default:
				values[name] = float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return values
}

func TestWhatHappensIsCountedOnce(t *testing.T) {
	r := prometheus.NewRegistry()
	c := NewCounted(silent{}, r)
	fresh, locked := &v1alpha1.WorkflowExecution{}, &v1alpha1.WorkflowExecution{}
	locked.Status.Target = &v1alpha1.ResolvedTarget{LockedAt: &metav1.MicroTime{Time: time.Now()}}
	completed, skipped, failed := ended(v1alpha1.PhaseCompleted), ended(v1alpha1.PhaseSkipped), ended(v1alpha1.PhaseFailed)
	completed.Status.Target = locked.Status.Target
	completed.Status.Duration = &metav1.Duration{Duration: 3 * time.Second}
	skipped.Status.SkipDetails = &v1alpha1.SkipDetails{Reason: v1alpha1.SkipResourceBusy}
	failed.Status.FailureDetails = &v1alpha1.FailureDetails{Reason: v1alpha1.FailureOOMKilled}
	conflict := ended(v1alpha1.PhaseFailed)
	conflict.Status.Conditions = append(conflict.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionAuditRecorded, Reason: v1alpha1.ReasonConflictingIDs})

	for _, step := range [][2]*v1alpha1.WorkflowExecution{
		{fresh, fresh}, {fresh, locked}, {locked, locked}, {locked, completed}, {completed, completed}, // the last is a later write of the same
		{fresh, skipped}, {fresh, failed}, {failed, conflict}, {conflict, conflict},
	} {
		c.Changed(step[0], step[1])
	}

	values := gathered(t, r)
	for name, want := range map[string]float64{
		"workflowexecution_total{outcome=Completed}":         1,
		"workflowexecution_total{outcome=Skipped}":           1,
		"workflowexecution_total{outcome=Failed}":            1,
		"workflowexecution_total{outcome=Cancelled}":         0,
		"workflowexecution_skips_total{reason=ResourceBusy}": 1,
		"workflowexecution_failures_total{class=OOMKilled}":  1,
		"workflowexecution_failures_total{class=Evicted}":    0,
		"workflowexecution_duration_seconds":                 1,
		"workflowexecution_target_wait_seconds":              1,
		"workflowexecution_audit_conflicts_total":            1,
	} {
		if got, there := values[name]; !there || got != want {
			t.Errorf("%s is %v (there: %t), want %v", name, got, there, want)
		}
	}
}

// TestNoLabelIsUnbounded: whatever stands in a status, the series stay as many as
// the API has words.
func TestNoLabelIsUnbounded(t *testing.T) {
	r := prometheus.NewRegistry()
	c := NewCounted(silent{}, r)
	before := len(gathered(t, r))
	for i := range 1000 {
		word := fmt.Sprint("word-", i)
		ex := ended(v1alpha1.Phase(word))
		ex.Name, ex.Namespace = word, word
		ex.Spec.WorkflowRef.WorkflowID, ex.Spec.TargetResource = word, word
		ex.Status.SkipDetails = &v1alpha1.SkipDetails{Reason: v1alpha1.SkipReason(word)}
		ex.Status.FailureDetails = &v1alpha1.FailureDetails{Reason: v1alpha1.FailureReason(word)}
		c.Changed(&v1alpha1.WorkflowExecution{}, ex)
		if known(word, waitReasons) != other {
			t.Fatalf("a wait for %s has a series of its own", word)
		}
	}
	values := gathered(t, r)
	if more := len(values) - before; more != 3 { // outcome, reason and class Other
		t.Errorf("a thousand strange words made %d new series, want 3", more)
	}
	if got := values["workflowexecution_total{outcome=Other}"]; got != 1000 {
		t.Errorf("%v strange outcomes were counted, want 1000", got)
	}
	if dup := len(waitReasons) - len(slices.Compact(slices.Sorted(slices.Values(waitReasons)))); dup != 0 {
		t.Errorf("%d reasons to wait stand twice", dup)
	}
}
