package main

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rogpeppe/go-internal/testscript"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
	"kubernaut.ai/kubernaut/test/servers"
)

// parking is parked events in memory.
type parking struct {
	datastorage.NoOverflow

	mu      sync.Mutex
	entries map[api.ParkedQueue][]api.ParkedEntry
}

func (p *parking) Count(context.Context) (waiting, poisoned int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int64(len(p.entries[api.ParkedQueueWaiting])), int64(len(p.entries[api.ParkedQueuePoisoned])), nil
}

func (p *parking) List(_ context.Context, q api.ParkedQueue, _ string, _ int) ([]api.ParkedEntry, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.entries[q]), nil
}

func (p *parking) Find(_ context.Context, q api.ParkedQueue, places []string) (found []api.ParkedEntry, _ error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.entries[q] {
		if slices.Contains(places, e.Place) {
			found = append(found, e)
		}
	}
	return found, nil
}

func (p *parking) Retry(ctx context.Context, places []string) (int, error) {
	found, _ := p.Find(ctx, api.ParkedQueuePoisoned, places) // from memory
	n, err := p.Purge(ctx, api.ParkedQueuePoisoned, places)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.entries[api.ParkedQueueWaiting] = append(p.entries[api.ParkedQueueWaiting], found...)
	return n, err
}

func (p *parking) Purge(_ context.Context, q api.ParkedQueue, places []string) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.entries[q])
	p.entries[q] = slices.DeleteFunc(p.entries[q], func(e api.ParkedEntry) bool { return slices.Contains(places, e.Place) })
	return before - len(p.entries[q]), nil
}

// TestAuditOperations runs the scripts that change something in a real Data Storage: what
// is held, what goes, and what is parked.
func TestAuditOperations(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	store := newStore(t)
	parked := &parking{entries: map[api.ParkedQueue][]api.ParkedEntry{
		api.ParkedQueueWaiting:  {{Place: "1-0", EventID: uuid.Max.String(), Content: "{}"}},
		api.ParkedQueuePoisoned: {{Place: "2-0", EventID: uuid.Max.String(), Content: "{}", Reason: "no such month"}, {Place: "3-0", EventID: uuid.Max.String(), Content: "{}"}},
	}}
	server := httptest.NewServer(datastorage.New(datastorage.Options{
		Trail: store, Reader: store, Overflow: datastorage.NoOverflow{}, Parking: parked, Holds: store, Retention: store, Gate: datastorage.OpenGate{},
		Policies: []api.RetentionPolicy{{Category: "workflowexecution", KeepDays: 30}},
		Now:      func() time.Time { return noon }, Log: slog.New(slog.DiscardHandler), Metrics: datastorage.NewMetrics(),
	}).Handler())
	t.Cleanup(server.Close)
	client, err := api.New(server.URL, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for step, at := range map[string]time.Time{
		"gone created": noon.AddDate(0, 0, -70), "older created": noon.AddDate(0, 0, -40), "whole created": noon.AddDate(0, 0, -41),
	} {
		if _, err := client.Record(t.Context(), told(step, at)); err != nil {
			t.Fatal(err)
		}
	}
	hold, err := client.PlaceHold(t.Context(), api.HoldRequest{CorrelationID: "case-torn", Reason: "a claim"})
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/operate",
		UpdateScripts: update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("SERVER", server.URL)
			e.Setenv("HOLD", hold.HoldID.String())
			e.Setenv("TZ", "UTC")
			return apart(e)
		},
	})
}

// newStore is an empty database of a test's own.
func newStore(t *testing.T) *postgres.Store {
	t.Helper()
	url := servers.PostgreSQL(t)
	log := slog.New(slog.DiscardHandler)
	if err := postgres.Migrate(t.Context(), url, "service", log); err != nil {
		t.Fatal(err)
	}
	store, err := postgres.Open(url, postgres.Config{}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}
