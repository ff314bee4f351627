package datastorage

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the measurements of the service.
type Metrics struct {
	http.Handler // serves them

	requests *prometheus.HistogramVec
	events   *prometheus.CounterVec
	parked   prometheus.Gauge
	poison   prometheus.Gauge
	up       *prometheus.GaugeVec
}

// NewMetrics makes the measurements, all at zero.
func NewMetrics() *Metrics {
	m := &Metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "datastorage_request_duration_seconds", Help: "How long requests took, by route and status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route", "status"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "datastorage_audit_events_total", Help: "Events by what became of them: stored, known, parked, refused.",
		}, []string{"outcome"}),
		parked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "datastorage_parked_events", Help: "Events in Redis that wait for PostgreSQL.",
		}),
		poison: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "datastorage_poison_events", Help: "Parked events that PostgreSQL will never take; somebody must look at them.",
		}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "datastorage_dependency_up", Help: "Whether a dependency can be used (1) or not (0).",
		}, []string{"dependency"}),
	}
	for _, outcome := range []string{"stored", "known", "parked", "refused"} {
		m.events.WithLabelValues(outcome)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.requests, m.events, m.parked, m.poison, m.up,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.Handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return m
}

// begin measures one request; the result ends the measurement.
func (m *Metrics) begin(route string) func(status int) {
	start := time.Now()
	return func(status int) {
		m.requests.WithLabelValues(route, strconv.Itoa(status)).Observe(time.Since(start).Seconds())
	}
}

var outcomeNames = map[Outcome]string{Stored: "stored", Known: "known", Parked: "parked"}

func (m *Metrics) recorded(o Outcome, events int) {
	m.events.WithLabelValues(outcomeNames[o]).Add(float64(events))
}

func (m *Metrics) refused(events int) { m.events.WithLabelValues("refused").Add(float64(events)) }

// Waiting sets how many events are parked, and how many moved aside.
func (m *Metrics) Waiting(parked, poison int64) {
	m.parked.Set(float64(parked))
	m.poison.Set(float64(poison))
}

// Up sets whether a dependency can be used.
func (m *Metrics) Up(dependency string, up bool) {
	value := 0.0
	if up {
		value = 1
	}
	m.up.WithLabelValues(dependency).Set(value)
}
