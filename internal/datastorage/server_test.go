package datastorage_test

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/overflow"
	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
	"kubernaut.ai/kubernaut/test/servers"
)

var quietly = slog.New(slog.DiscardHandler)

// noon is the clock of every server under test.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a service on real servers of a test's own.
type world struct {
	*contract
	handler  http.Handler
	store    *postgres.Store
	overflow *overflow.Overflow
	postgres *servers.Postgres
	redis    *servers.RedisServer
}

// setting changes how the service is made.
type setting func(*datastorage.Options)

// TestContract runs every story through the contract, which must be exercised as a whole.
func TestContract(t *testing.T) {
	pg, redis := servers.StartPostgreSQL(t), servers.StartRedis(t)
	template := pg.Database()
	must(t, postgres.Migrate(t.Context(), template, "service", quietly))
	c := newContract(t)
	for name, story := range map[string]func(*testing.T, *world){
		"event: stored, known, in conflict":             eventOnce,
		"event: one without an id gets one":             eventWithoutID,
		"event: what is wrong is named":                 eventProblems,
		"event: JSON is read strictly":                  strictJSON,
		"event: the parent must be known":               parents,
		"event: media types and sizes":                  mediaTypes,
		"batch: all or none, in order":                  batch,
		"batch: the wrong one is named":                 batchProblems,
		"batch: as large as announced":                  batchLimit,
		"batch: each for itself":                        partialBatch,
		"parked: looked at, retried, purged":            parkedEvents,
		"parked: also what is damaged is purged":        damagedEvents,
		"holds: placed, listed, released":               holds,
		"holds: the same again is the same hold":        holdsAgain,
		"retention: what no policy and no hold keeps":   retention,
		"query: every filter":                           queryFilters,
		"query: pages":                                  queryPages,
		"query: pages of large events":                  queryLargePages,
		"query: answers are compressed":                 answersAreZipped,
		"query: what is wrong is named":                 queryProblems,
		"query: ranges and paths of event_data":         queryRanges,
		"export: every event as a line, or a row":       export,
		"export: a break is told from the end":          exportBreaks,
		"feed: what is new, each once, by cursor":       feed,
		"feed: it waits, and ends with the service":     feedWaits,
		"summary: counts and durations":                 summary,
		"completeness: gaps are named":                  completenessOfExecutions,
		"completeness: more than is looked at":          completenessOfTooMany,
		"notification: recorded once":                   notification,
		"catalog: registered once, read again":          catalogOnce,
		"catalog: the status changes, nothing else":     catalogStatus,
		"catalog: searched by labels":                   catalogSearch,
		"catalog: what is wrong is named":               catalogProblems,
		"catalog: large answers end early":              largeCatalog,
		"catalog: what is registered is looked at":      catalogVerifies,
		"service: health, metrics, contract, strangers": operations,
		"callers: who, whether and how fast":            callers,
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{contract: c, postgres: pg, redis: redis}
			w.open(t, pg.Copy(template))
			story(t, w)
		})
	}
	c.complete(t)
}

// open makes the service on a database.
func (w *world) open(t *testing.T, url string) {
	t.Helper()
	var err error
	w.store, err = postgres.Open(url, postgres.Config{ConnectTimeout: time.Second}, quietly)
	must(t, err)
	t.Cleanup(w.store.Close)
	w.overflow, err = overflow.Open(w.redis.URL(), 0, quietly)
	must(t, err)
	t.Cleanup(func() { _ = w.overflow.Close() })
	w.handler = w.serve()
}

// serve makes a handler with other settings on the same servers.
func (w *world) serve(settings ...setting) http.Handler {
	o := datastorage.Options{
		Trail: w.store, Reader: w.store, Overflow: w.overflow, Parking: w.overflow, Holds: w.store, Retention: w.store, Catalog: w.store, Gate: datastorage.OpenGate{},
		Now: func() time.Time { return noon }, Log: quietly, Metrics: datastorage.NewMetrics(), Health: healthy(true),
	}
	for _, s := range settings {
		s(&o)
	}
	return datastorage.New(o).Handler()
}

// redrive runs until the test ends.
func (w *world) redrive(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.overflow.Redrive(ctx, w.store) })
	t.Cleanup(func() { stop(); running.Wait() })
}

func (w *world) post(t *testing.T, path string, body any) response {
	t.Helper()
	return w.send(t, w.handler, request{method: "POST", path: path, body: body})
}

// wrong posts what breaks the contract on purpose.
func (w *world) wrong(t *testing.T, path string, body any) response {
	t.Helper()
	return w.send(t, w.handler, request{method: "POST", path: path, body: body, wrong: true})
}

func (w *world) get(t *testing.T, path string) response {
	t.Helper()
	return w.send(t, w.handler, request{method: "GET", path: path})
}

// healthy is a service whose readiness a test decides.
type healthy bool

func (h healthy) Ready() (bool, map[string]string) {
	return bool(h), map[string]string{"postgresql": "ok"}
}
