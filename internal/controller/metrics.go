package controller

import (
	"github.com/prometheus/client_golang/prometheus"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/execution"
)

// Counted counts the endings it tells another Notifier of.
type Counted struct {
	Notifier
	total    *prometheus.CounterVec
	duration prometheus.Histogram
}

// NewCounted registers the metrics of executions with r.
func NewCounted(n Notifier, r prometheus.Registerer) Counted {
	c := Counted{
		Notifier: n,
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "workflowexecution_total", Help: "Executions that have ended, by the phase they ended in.",
		}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "workflowexecution_duration_seconds", Help: "Time from the creation of a run to its end.",
			Buckets: []float64{1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600},
		}),
	}
	r.MustRegister(c.total, c.duration)
	return c
}

// Changed counts an execution when it ends.
func (c Counted) Changed(before, after *v1alpha1.WorkflowExecution) {
	c.Notifier.Changed(before, after)
	if execution.Ended(before) || !execution.Ended(after) {
		return
	}
	c.total.WithLabelValues(string(after.Status.Phase)).Inc()
	if d := after.Status.Duration; d != nil {
		c.duration.Observe(d.Seconds())
	}
}
