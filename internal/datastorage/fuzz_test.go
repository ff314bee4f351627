package datastorage

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
)

// nothing is a service that keeps in memory, so that what is fuzzed is only reading.
func nothing() *Server {
	l := &ledger{kept: map[uuid.UUID]audit.Digest{}, gate: make(chan struct{})}
	close(l.gate)
	return New(Options{
		Trail: noParents{l}, Overflow: NoOverflow{}, Parking: NoOverflow{}, Gate: OpenGate{}, Metrics: NewMetrics(),
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return fuzzNoon },
		Limits: Limits{RequestsPerSecond: 1e9, BodyBytes: 1 << 20},
	})
}

var fuzzNoon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// noParents is a Trail that knows no parent.
type noParents struct{ *ledger }

func (noParents) Missing(_ context.Context, ids []uuid.UUID) ([]uuid.UUID, error) { return ids, nil }

const fuzzEvent = `{"event_id":"5e9c9e39-3a0e-5d65-9d0a-64b1f1b3d4c1","version":"1.0","event_type":"a","event_timestamp":"2026-03-01T11:00:00Z",` +
	`"event_category":"a","event_action":"a","event_outcome":"pending","correlation_id":"c","event_data":{"n":[1,-0,1e21,5e-324,"\ud83d\ude00"]}}`

// seeds are bodies that have been trouble somewhere.
var seeds = []string{
	fuzzEvent, "[" + fuzzEvent + "]", "", "null", "[]", "{}", "[null]", fuzzEvent + "x", strings.Replace(fuzzEvent, "{", `{"version":"2",`, 1),
	strings.Replace(fuzzEvent, `"a"`, `"\u0000"`, 1), strings.Replace(fuzzEvent, `"a"`, "\"\xff\"", 1), strings.Replace(fuzzEvent, `"a"`, `"\ud800"`, 1),
	strings.Replace(fuzzEvent, "1e21", "1e999", 1), strings.Replace(fuzzEvent, "[1,", strings.Repeat("[", 40)+"1"+strings.Repeat("]", 40)+",[", 1),
	strings.Replace(fuzzEvent, "11:00:00Z", "25:00:00Z", 1), strings.Replace(fuzzEvent, "2026", "0000", 1), strings.Repeat("[", 10_000),
}

// FuzzEvent sends any body as one event, as a batch, and as a batch to be taken in part. The
// answer is always one of the contract: never a fault of the service, never a body that
// is no JSON; and what is taken has a content that reads back as itself.
func FuzzEvent(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	handler := nothing().Handler()
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, path := range []string{"/api/v1/audit/events", "/api/v1/audit/events/batch", "/api/v1/audit/events/batch?partial=true"} {
			answered(t, handler, post(path, body))
		}
		var e api.AuditEvent
		if json.Unmarshal(body, &e) != nil {
			return
		}
		sealed, err := audit.Seal(e)
		if err != nil {
			return
		}
		again, err := audit.Open(sealed.Content)
		if err != nil || again.Digest != sealed.Digest {
			t.Errorf("content that does not read back: %v\n%s", err, sealed.Content)
		}
	})
}

// FuzzBodies sends any body to each operation that takes one, and any bytes as gzip.
func FuzzBodies(f *testing.F) {
	for _, s := range append(seeds, `{"queue":"waiting","places":["1-1"],"reason":"x"}`, `{"places":["-"]}`) {
		f.Add([]byte(s), false)
	}
	var small bytes.Buffer
	z := gzip.NewWriter(&small)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 2<<20))
	_ = z.Close()
	f.Add(small.Bytes(), true) // grows beyond the limit
	handler := nothing().Handler()
	f.Fuzz(func(t *testing.T, body []byte, zipped bool) {
		for _, path := range []string{
			"/api/v1/audit/events", "/api/v1/audit/events/batch", "/api/v1/audit/parked/retry", "/api/v1/audit/parked/purge",
		} {
			r := post(path, body)
			if zipped {
				r.Header.Set("Content-Encoding", "gzip")
			}
			answered(t, handler, r)
		}
	})
}

func post(path string, body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// answered checks that an answer is one that the contract knows.
func answered(t *testing.T, handler http.Handler, r *http.Request) {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	body, _ := io.ReadAll(w.Body)
	if w.Code == http.StatusInternalServerError || !json.Valid(body) {
		t.Errorf("%s: %d %s", r.URL, w.Code, body)
	}
}
