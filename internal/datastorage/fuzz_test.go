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
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
)

// nothing is a service that keeps in memory, so that what is fuzzed is only reading.
func nothing() *Server {
	l := &ledger{kept: map[uuid.UUID]audit.Digest{}, gate: make(chan struct{})}
	close(l.gate)
	return New(Options{
		Trail: noParents{l}, Overflow: NoOverflow{}, Parking: NoOverflow{}, Holds: anyHold{}, Catalog: anyWorkflow{}, Gate: OpenGate{}, Metrics: NewMetrics(),
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return fuzzNoon },
		Limits: Limits{RequestsPerSecond: 1e9, BodyBytes: 1 << 20},
	})
}

const fuzzID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

var fuzzNoon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// noParents is a Trail that knows no parent.
type noParents struct{ *ledger }

func (noParents) Missing(_ context.Context, ids []uuid.UUID) ([]uuid.UUID, error) { return ids, nil }

// anyHold takes every hold and releases it.
type anyHold struct{ Holds }

func (anyHold) PlaceHold(_ context.Context, h api.Hold) (api.Hold, bool, error) {
	h.PlacedAt = fuzzNoon
	return h, true, nil
}

func (anyHold) ReleaseHold(_ context.Context, id uuid.UUID, reason, by string) (api.Hold, error) {
	return api.Hold{HoldID: id, CorrelationID: "c", Reason: "x", PlacedAt: fuzzNoon, ReleasedAt: fuzzNoon, ReleaseReason: reason, ReleasedBy: by}, nil
}

// anyWorkflow takes every workflow, and finds one that bears the labels asked for.
type anyWorkflow struct{ Catalog }

func (anyWorkflow) Create(_ context.Context, w api.Workflow) (api.Workflow, bool, error) {
	_, err := catalog.Digest(w) // as the store does
	return w, true, err
}

func (anyWorkflow) Get(context.Context, uuid.UUID) (api.Workflow, error) {
	return api.Workflow{}, ErrNotFound
}

func (anyWorkflow) Labelled(_ context.Context, f api.WorkflowFilters) ([]api.Workflow, error) {
	return []api.Workflow{{CustomLabels: f.CustomLabels, Labels: api.WorkflowLabels{
		SignalType: f.SignalType, Severity: f.Severity, Component: f.Component, Environment: f.Environment, Priority: f.Priority,
	}}}, nil
}

func (anyWorkflow) SetStatus(_ context.Context, id uuid.UUID, c StatusChange) (api.Workflow, error) {
	return api.Workflow{WorkflowID: id, Status: c.Status, StatusReason: c.Reason, UpdatedBy: c.By}, nil
}

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

// bodySeeds are bodies of the operations that take something else than events.
var bodySeeds = []string{
	`{"queue":"waiting","places":["1-1"],"reason":"x"}`, `{"places":["-"]}`,
	`{"remediation_id":"c","notification_id":"n","recipient":"a","channel":"slack","message_summary":"x","status":"sent","sent_at":"2026-03-01T11:00:00Z","escalation_level":1}`,
	`{"hold_id":"5e9c9e39-3a0e-5d65-9d0a-64b1f1b3d4c1","correlation_id":"c","reason":"x"}`, `{"reason":"\u00e9"}`,
	`{"workflow_name":"heal","version":"1.0.0-rc.1","name":"Heal","description":"x","content":"x","content_hash":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",` +
		`"labels":{"signal_type":"a","severity":"b","component":"*","environment":"d","priority":"e"},"custom_labels":{"team":["a"]},"container_image":"registry/heal:1",` +
		`"parameters":[{"name":"N","type":"integer","default":"1","enum":["1","2"],"pattern":"^[0-9]$","minimum":0,"maximum":1e300}]}`,
	`{"filters":{"signal_type":"a","severity":"b","component":"c","environment":"d","priority":"e","custom_labels":{"team":["a","b"]}},"top_k":100,"min_score":0.5}`,
	`{"status":"deprecated","reason":"x"}`, `{"status":"active","description":null}`,
}

// FuzzBodies sends any body to each operation that takes one, and any bytes as gzip.
func FuzzBodies(f *testing.F) {
	for _, s := range slices.Concat(seeds, bodySeeds) {
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
			"/api/v1/audit/notifications", "/api/v1/audit/holds", "/api/v1/audit/holds/" + fuzzID + "/release",
			"/api/v1/workflows", "/api/v1/workflows/search", "/api/v1/workflows/" + fuzzID, "/api/v1/workflows/" + fuzzID + "/disable",
		} {
			r := post(path, body)
			if strings.Contains(path, "workflows/"+fuzzID) {
				r.Method = http.MethodPatch
			}
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
