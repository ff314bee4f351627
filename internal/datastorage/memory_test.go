package datastorage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
)

// yard is an Overflow that several services share. It can be away, or take every
// question and never answer.
type yard struct {
	Parking

	mu           sync.Mutex
	parked       map[uuid.UUID]audit.Digest
	aside        int64 // how many of them were moved aside
	more         int64 // how many others are parked
	away, silent bool
}

func (y *yard) Park(_ context.Context, events []audit.Sealed) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, e := range events {
		y.parked[e.Event.EventID] = e.Digest
	}
	return nil
}

func (y *yard) Parked(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]audit.Digest, error) {
	if y.isSilent() {
		<-ctx.Done()
		return nil, ErrAway
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.away {
		return nil, ErrAway
	}
	found := map[uuid.UUID]audit.Digest{}
	for _, id := range ids {
		if digest, ok := y.parked[id]; ok {
			found[id] = digest
		}
	}
	return found, nil
}

func (y *yard) Each(_ context.Context, do func(uuid.UUID, audit.Digest)) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	for id, digest := range y.parked {
		do(id, digest)
	}
	return nil
}

func (y *yard) Count(context.Context) (waiting, poisoned int64, err error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.away {
		return 0, 0, ErrAway
	}
	return int64(len(y.parked)) - y.aside + y.more, y.aside, nil
}

func (y *yard) isSilent() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.silent
}

// change changes what becomes of the next questions.
func (y *yard) change(how func(*yard)) {
	y.mu.Lock()
	defer y.mu.Unlock()
	how(y)
}

// gone is a Trail that is away.
type gone struct{ Trail }

func (gone) Append(context.Context, []audit.Sealed) ([]bool, error)    { return nil, ErrAway }
func (gone) Missing(context.Context, []uuid.UUID) ([]uuid.UUID, error) { return nil, ErrAway }

// process is a service that keeps its memory until the test ends.
func process(t *testing.T, trail Trail, y *yard) http.Handler {
	t.Helper()
	s := New(Options{Trail: trail, Overflow: y, Parking: y, Gate: OpenGate{}, Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics()})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.KeepMemory(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	synctest.Wait()
	return s.Handler()
}

// opened is an empty Trail that takes whatever comes.
func opened() *ledger {
	l := &ledger{kept: map[uuid.UUID]audit.Digest{}, gate: make(chan struct{})}
	close(l.gate)
	return l
}

// nth makes an event whose id is derived from n.
func nth(n int, change ...func(*api.AuditEvent)) api.AuditEvent {
	e := api.AuditEvent{
		EventID: audit.EventID("test", fmt.Sprint(n)), Version: "1", EventType: "test.done", EventCategory: "test", EventAction: "done",
		EventOutcome: api.EventOutcomeSuccess, EventTimestamp: time.Now(), CorrelationID: "case-1", EventData: json.RawMessage(`{}`),
	}
	for _, c := range change {
		c(&e)
	}
	return e
}

func grave(e *api.AuditEvent) { e.Severity = "high" }

func childOf(n int) func(*api.AuditEvent) {
	return func(e *api.AuditEvent) { e.ParentEventID = audit.EventID("test", fmt.Sprint(n)) }
}

func wantStatus(t *testing.T, h http.Handler, e api.AuditEvent, status int) {
	t.Helper()
	body, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/api/v1/audit/events", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != status {
		t.Errorf("status %d, want %d: %s", w.Code, status, w.Body)
	}
}

// TestWhatAnotherProcessParkedIsRemembered takes the overflow away from a process that
// has parked nothing itself.
func TestWhatAnotherProcessParkedIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &yard{parked: map[uuid.UUID]audit.Digest{}}
		other, here := process(t, gone{}, y), process(t, opened(), y)
		event := nth(1)
		wantStatus(t, other, event, http.StatusAccepted)
		<-time.After(recallEvery)
		synctest.Wait()
		y.change(func(y *yard) { y.away = true })
		wantStatus(t, here, nth(1, grave), http.StatusConflict)

		// Redrive of the other one has moved it aside: it keeps its id.
		y.change(func(y *yard) { y.away, y.aside = false, 1 })
		<-time.After(2 * recallEvery)
		synctest.Wait()
		y.change(func(y *yard) { y.away = true })
		wantStatus(t, here, nth(1, grave), http.StatusConflict)
		wantStatus(t, here, nth(2), http.StatusCreated)

		// Somebody has purged it: its id is free.
		y.change(func(y *yard) { y.away, y.aside = false, 0; clear(y.parked) })
		<-time.After(2 * recallEvery)
		synctest.Wait()
		y.change(func(y *yard) { y.away = true })
		wantStatus(t, here, nth(1, grave), http.StatusCreated)
	})
}

// TestWhatIsRememberedStaysWhenMoreIsParked parks more than a process can remember.
func TestWhatIsRememberedStaysWhenMoreIsParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &yard{parked: map[uuid.UUID]audit.Digest{}}
		other, here := process(t, gone{}, y), process(t, opened(), y)
		wantStatus(t, other, nth(1), http.StatusAccepted)
		<-time.After(recallEvery)
		synctest.Wait()
		y.change(func(y *yard) { y.more = remembered })
		<-time.After(2 * recallEvery)
		synctest.Wait()
		y.change(func(y *yard) { y.away = true })
		wantStatus(t, here, nth(1, grave), http.StatusConflict)
		wantStatus(t, here, nth(2), http.StatusServiceUnavailable)
	})
}

// TestAParentThatMayBeParked names parents while the trail is back and the overflow is
// away.
func TestAParentThatMayBeParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &yard{parked: map[uuid.UUID]audit.Digest{}}
		other, here := process(t, gone{}, y), process(t, opened(), y)
		wantStatus(t, other, nth(1), http.StatusAccepted)
		<-time.After(recallEvery)
		synctest.Wait()
		wantStatus(t, here, nth(2, childOf(9)), http.StatusBadRequest)
		y.change(func(y *yard) { y.away = true })
		wantStatus(t, here, nth(2, childOf(1)), http.StatusCreated)
		wantStatus(t, here, nth(3, childOf(9)), http.StatusServiceUnavailable)
		y.change(func(y *yard) { y.away = false })
		<-time.After(askAgain)
		wantStatus(t, here, nth(3, childOf(9)), http.StatusBadRequest)
	})
}

// TestASilentOverflowHoldsUpOneWrite writes beside an overflow that takes every
// question and does not answer.
func TestASilentOverflowHoldsUpOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &yard{parked: map[uuid.UUID]audit.Digest{}}
		here := process(t, opened(), y)
		y.change(func(y *yard) { y.silent = true })
		start := time.Now()
		for n := range 10 {
			wantStatus(t, here, nth(n), http.StatusCreated)
		}
		if took := time.Since(start); took != askFor {
			t.Errorf("ten writes took %s, want the %s of one question", took, askFor)
		}
		<-time.After(askAgain)
		wantStatus(t, here, nth(10), http.StatusCreated)
		if took := time.Since(start); took != askFor+askAgain+askFor {
			t.Errorf("%s after the first write, so it was not asked again after %s", took, askAgain)
		}
	})
}
