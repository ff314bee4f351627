package controller

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

type silent struct{}

func (silent) Changed(_, _ *v1alpha1.WorkflowExecution) {}

func TestAnEndingIsCountedOnce(t *testing.T) {
	r := prometheus.NewRegistry()
	c := NewCounted(silent{}, r)
	running, ended := &v1alpha1.WorkflowExecution{}, &v1alpha1.WorkflowExecution{}
	ended.Status.Phase = v1alpha1.PhaseCompleted
	ended.Status.Duration = &metav1.Duration{Duration: 3 * time.Second}
	ended.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue}}

	c.Changed(running, running)
	c.Changed(running, ended)
	c.Changed(ended, ended) // a later write of the same object

	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		m := f.GetMetric()[0]
		switch f.GetName() {
		case "workflowexecution_total":
			if got := m.GetCounter().GetValue(); got != 1 || m.GetLabel()[0].GetValue() != "Completed" {
				t.Errorf("%v counted %v times, want Completed once", m.GetLabel(), got)
			}
		case "workflowexecution_duration_seconds":
			if h := m.GetHistogram(); h.GetSampleCount() != 1 || h.GetSampleSum() != 3 {
				t.Errorf("durations: %d of together %v s, want one of 3 s", h.GetSampleCount(), h.GetSampleSum())
			}
		}
	}
	if len(families) != 2 {
		t.Errorf("%d metrics are registered, want 2", len(families))
	}
}
