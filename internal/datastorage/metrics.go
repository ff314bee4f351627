package datastorage

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kubernaut.ai/kubernaut/internal/audit"
)

// Metrics are the measurements of the service.
type Metrics struct {
	http.Handler // serves them

	requests  *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	events    *prometheus.CounterVec
	appends   *prometheus.HistogramVec
	together  prometheus.Histogram
	parked    prometheus.Gauge
	capacity  prometheus.Gauge
	oldest    prometheus.Gauge
	poison    prometheus.Gauge
	redriven  prometheus.Counter
	up        *prometheus.GaugeVec
	pool      *prometheus.GaugeVec
	ahead     prometheus.Gauge
	removed   prometheus.Counter
	retention *prometheus.GaugeVec

	moved int64 // what redriven has counted; only the watch changes it
}

// NewMetrics makes the measurements, all at zero.
func NewMetrics() *Metrics {
	m := &Metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "datastorage_request_duration_seconds", Help: "How long requests took, by route and status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route", "status"}),
		inFlight: gauge("datastorage_requests_in_flight", "Requests that are being answered."),
		events:   counters("datastorage_audit_events_total", "Events by what became of them: stored, known, parked, refused.", "outcome"),
		appends: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "datastorage_append_duration_seconds", Help: "How long transactions that append events took, by how they ended: ok, conflict, failed.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"result"}),
		together: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "datastorage_append_events", Help: "How many events shared a transaction.", Buckets: []float64{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000},
		}),
		parked:    gauge("datastorage_parked_events", "Events in Redis that wait for PostgreSQL."),
		capacity:  gauge("datastorage_parked_capacity_events", "How many events may be parked, those moved aside included."),
		oldest:    gauge("datastorage_parked_oldest_seconds", "How long the oldest parked event has been waiting."),
		poison:    gauge("datastorage_poison_events", "Parked events that PostgreSQL will never take; somebody must look at them."),
		redriven:  counter("datastorage_redriven_events_total", "Events that this process moved from Redis to PostgreSQL."),
		up:        gauges("datastorage_dependency_up", "Whether a dependency can be used (1) or not (0).", "dependency"),
		pool:      gauges("datastorage_database_connections", "Connections to PostgreSQL, by state: used, idle, limit.", "state"),
		ahead:     gauge("datastorage_partitions_ahead_months", "How many months after this one have their partition."),
		removed:   counter("datastorage_retention_removed_events_total", "Events that retention removed."),
		retention: gauges("datastorage_retention_timestamp_seconds", "When retention last began and ended here; 0: not since the start.", "step"),
	}
	for _, outcome := range []string{"stored", "known", "parked", "refused"} {
		m.events.WithLabelValues(outcome)
	}
	for _, step := range []string{"began", "ended"} {
		m.retention.WithLabelValues(step)
	}
	m.register()
	return m
}

func (m *Metrics) register() {
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.requests, m.inFlight, m.events, m.appends, m.together, m.parked, m.capacity, m.oldest, m.poison,
		m.redriven, m.up, m.pool, m.ahead, m.removed, m.retention,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.Handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

func gauges(name, help, label string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{label})
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func counters(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
}

// begin measures one request; the result ends the measurement.
func (m *Metrics) begin(route string) func(status int) {
	start := time.Now()
	m.inFlight.Inc()
	return func(status int) {
		m.inFlight.Dec()
		m.requests.WithLabelValues(route, strconv.Itoa(status)).Observe(time.Since(start).Seconds())
	}
}

var outcomeNames = map[Outcome]string{Stored: "stored", Known: "known", Parked: "parked"}

func (m *Metrics) recorded(o Outcome, events int) {
	m.events.WithLabelValues(outcomeNames[o]).Add(float64(events))
}

func (m *Metrics) refused(events int) { m.events.WithLabelValues("refused").Add(float64(events)) }

func (m *Metrics) retained(events int64)       { m.removed.Add(float64(events)) }
func (m *Metrics) retentionBegan(at time.Time) { m.retention.WithLabelValues("began").Set(seconds(at)) }
func (m *Metrics) retentionEnded(at time.Time) { m.retention.WithLabelValues("ended").Set(seconds(at)) }

func seconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }

// Overflowing is how parking is.
type Overflowing struct {
	Waiting, Poisoned int64
	Capacity          int
	Oldest            time.Duration // how long the oldest has been waiting
	Moved             int64         // how many this process has moved to the trail
}

// Overflow sets how parking is. Only one goroutine calls it.
func (m *Metrics) Overflow(o Overflowing) {
	m.parked.Set(float64(o.Waiting))
	m.poison.Set(float64(o.Poisoned))
	m.capacity.Set(float64(o.Capacity))
	m.oldest.Set(o.Oldest.Seconds())
	m.redriven.Add(float64(o.Moved - m.moved))
	m.moved = o.Moved
}

// Database sets how many connections there are, and how many months after this one
// have their partition.
func (m *Metrics) Database(used, idle, limit int32, ahead int) {
	m.pool.WithLabelValues("used").Set(float64(used))
	m.pool.WithLabelValues("idle").Set(float64(idle))
	m.pool.WithLabelValues("limit").Set(float64(limit))
	m.ahead.Set(float64(ahead))
}

// Up sets whether a dependency can be used.
func (m *Metrics) Up(dependency string, up bool) {
	value := 0.0
	if up {
		value = 1
	}
	m.up.WithLabelValues(dependency).Set(value)
}

// measured is a Trail whose transactions are measured.
type measured struct {
	Trail
	metrics *Metrics
}

// Append measures one transaction.
func (t *measured) Append(ctx context.Context, events []audit.Sealed) ([]bool, error) {
	start := time.Now()
	fresh, err := t.Trail.Append(ctx, events)
	t.metrics.together.Observe(float64(len(events)))
	t.metrics.appends.WithLabelValues(resultName(err)).Observe(time.Since(start).Seconds())
	return fresh, err
}

func resultName(err error) string {
	switch {
	case err == nil:
		return "ok"
	case isConflict(err):
		return "conflict"
	}
	return "failed"
}
