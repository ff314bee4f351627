package controller

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/execution"
)

// Counted counts what it tells another Notifier of.
type Counted struct {
	Notifier
	total, skips, failures *prometheus.CounterVec
	duration, wait         prometheus.Histogram
	conflicts              prometheus.Counter
}

// NewCounted registers the metrics of executions with r. Every series is there from
// the start, at zero, and there is one for each value that the API knows: nothing
// that a user can write becomes a label.
func NewCounted(n Notifier, r prometheus.Registerer) Counted {
	c := Counted{
		Notifier: n,
		total: counter("total", "Executions that have ended, by the phase they ended in.", "outcome",
			v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed, v1alpha1.PhaseSkipped, v1alpha1.PhaseCancelled),
		skips:    counter("skips_total", "Executions that were skipped, by the reason.", "reason", v1alpha1.SkipReasons...),
		failures: counter("failures_total", "Executions that failed or were cancelled, by the class of the failure.", "class", v1alpha1.FailureReasons...),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "duration_seconds", Help: "Time from the creation of a run to its end.",
			Buckets: []float64{1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600},
		}),
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "target_wait_seconds", Help: "Time from the creation of an execution until it held its target.",
			Buckets: []float64{1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600},
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "audit_conflicts_total", Help: "Executions and clearings whose events met other content under their ids in the audit trail; they are not sent again.",
		}),
	}
	r.MustRegister(c.total, c.skips, c.failures, c.duration, c.wait, c.conflicts)
	return c
}

const prefix = "workflowexecution_"

// other is the value of a label whose true value the API does not know.
const other = "Other"

func counter[T ~string](name, help, label string, values ...T) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, []string{label})
	for _, value := range values {
		v.WithLabelValues(string(value))
	}
	return v
}

// known is a value of an enumeration, as a label.
func known[T ~string](value T, all []T) string {
	if slices.Contains(all, value) {
		return string(value)
	}
	return other
}

// Changed counts what has just become true of an execution.
func (c Counted) Changed(before, after *v1alpha1.WorkflowExecution) {
	c.Notifier.Changed(before, after)
	if !holds(before) && holds(after) {
		c.wait.Observe(max(after.Status.Target.LockedAt.Sub(after.CreationTimestamp.Time), 0).Seconds())
	}
	if !inConflict(before) && inConflict(after) {
		c.conflicts.Inc()
	}
	if !execution.Ended(before) && execution.Ended(after) {
		c.ended(&after.Status)
	}
}

func (c Counted) ended(st *v1alpha1.WorkflowExecutionStatus) {
	c.total.WithLabelValues(known(st.Phase, v1alpha1.Phases)).Inc()
	if st.SkipDetails != nil {
		c.skips.WithLabelValues(known(st.SkipDetails.Reason, v1alpha1.SkipReasons)).Inc()
	}
	if st.FailureDetails != nil {
		c.failures.WithLabelValues(known(st.FailureDetails.Reason, v1alpha1.FailureReasons)).Inc()
	}
	if st.Duration != nil {
		c.duration.Observe(st.Duration.Seconds())
	}
}

func holds(ex *v1alpha1.WorkflowExecution) bool {
	return ex.Status.Target != nil && ex.Status.Target.LockedAt != nil
}

func inConflict(ex *v1alpha1.WorkflowExecution) bool {
	c := meta.FindStatusCondition(ex.Status.Conditions, v1alpha1.ConditionAuditRecorded)
	return c != nil && c.Reason == v1alpha1.ReasonConflictingIDs
}

// unrecorded says whether events of an execution could not be sent that should have
// been: until the run exists nothing is.
func unrecorded(ex *v1alpha1.WorkflowExecution) bool {
	c := meta.FindStatusCondition(ex.Status.Conditions, v1alpha1.ConditionAuditRecorded)
	return c != nil && (c.Reason == v1alpha1.ReasonUnavailable || c.Reason == v1alpha1.ReasonRefused)
}

// scrapePatience bounds how long a scrape waits for a cache.
const scrapePatience = 5 * time.Second

// census counts, at each scrape, what stands in the caches of this replica. Every
// replica has the same caches: take the maximum over replicas, not the sum.
type census struct {
	*Reconciler
	live, waiting, held, blocked, pending, left, paused *prometheus.Desc
}

func newCensus(r *Reconciler) *census {
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prefix+name, help, labels, nil)
	}
	return &census{
		Reconciler: r,
		live:       gauge("live", "Executions that have not ended or still owe something."),
		waiting:    gauge("waiting", "Executions that wait, by what they wait for.", "reason"),
		held:       gauge("targets_held", "Targets that an execution holds."),
		blocked:    gauge("targets_blocked", "Blocks that somebody has to clear."),
		pending:    gauge("audit_pending", "Executions with events that the audit trail did not take yet."),
		left:       gauge("audit_left_behind", "Deleted executions whose events wait in ConfigMaps to be sent."),
		paused:     gauge("paused", "1 while somebody has paused the controller."),
	}
}

// Describe sends the descriptions.
func (c *census) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.live, c.waiting, c.held, c.blocked, c.pending, c.left, c.paused} {
		to <- d
	}
}

// Collect sends what the caches hold; nothing while they cannot be read, so that
// the other metrics of the process are still told.
func (c *census) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapePatience)
	defer cancel()
	send := func(d *prometheus.Desc, n int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	if n, ok := c.executions(ctx); ok {
		send(c.live, n.live)
		send(c.pending, n.pending)
		for _, reason := range waitReasons {
			send(c.waiting, n.waiting[reason], reason)
		}
	}
	if held, blocked, ok := c.records(ctx); ok {
		send(c.held, held)
		send(c.blocked, blocked)
	}
	if n, ok := c.outbox(ctx); ok {
		send(c.left, n)
	}
	if why, err := c.whyPaused(ctx); err == nil {
		send(c.paused, map[bool]int{true: 1}[why != ""])
	}
}

// waitReasons are the reasons to wait that are told apart.
var waitReasons = func() []string {
	all := []string{v1alpha1.ReasonStopping, v1alpha1.ReasonEnding, v1alpha1.ReasonEngineAbsent, other}
	for _, r := range v1alpha1.SkipReasons {
		all = append(all, string(r))
	}
	for _, r := range v1alpha1.FailureReasons {
		all = append(all, string(r))
	}
	return all
}()
