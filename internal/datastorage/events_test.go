package datastorage_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

const (
	eventsPath = "/api/v1/audit/events"
	batchPath  = "/api/v1/audit/events/batch"
)

// event makes an event whose id is derived from n.
func event(n int, change ...func(*api.AuditEvent)) api.AuditEvent {
	e := api.AuditEvent{
		EventID: audit.EventID("test", fmt.Sprint(n)), Version: "1.0", EventType: "test.done", EventCategory: "test",
		EventAction: "done", EventOutcome: api.EventOutcomeSuccess, CorrelationID: "case-1",
		EventTimestamp: noon.Add(-time.Duration(n) * time.Second), EventData: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)),
	}
	for _, c := range change {
		c(&e)
	}
	return e
}

func severe(e *api.AuditEvent) { e.Severity = "high" }

func (w *world) total(t *testing.T) int {
	t.Helper()
	page, err := w.store.Query(t.Context(), datastorage.Query{Limit: 1})
	must(t, err)
	return page.Total
}

func eventOnce(t *testing.T, w *world) {
	for _, status := range []int{http.StatusCreated, http.StatusOK} {
		got := want[api.EventAcknowledgement](t, w.post(t, eventsPath, event(1)), status)
		if got.EventID != event(1).EventID || !got.EventTimestamp.Equal(event(1).EventTimestamp) || got.Message == "" {
			t.Errorf("acknowledgement %+v", got)
		}
	}
	wantProblem(t, w.post(t, eventsPath, event(1, severe)), http.StatusConflict, "event_id")
	if got := w.total(t); got != 1 {
		t.Errorf("%d events are kept, want 1", got)
	}
}

func eventWithoutID(t *testing.T, w *world) {
	unnamed := event(1, func(e *api.AuditEvent) { e.EventID = uuid.Nil })
	first := want[api.EventAcknowledgement](t, w.post(t, eventsPath, unnamed), http.StatusCreated)
	second := want[api.EventAcknowledgement](t, w.post(t, eventsPath, unnamed), http.StatusCreated)
	if first.EventID == uuid.Nil || first.EventID == second.EventID {
		t.Errorf("ids %s and %s", first.EventID, second.EventID)
	}
}

func eventProblems(t *testing.T, w *world) {
	for _, c := range []struct {
		why    string
		change func(*api.AuditEvent)
		field  string
	}{
		{"required and empty", func(e *api.AuditEvent) { e.EventType = "" }, "event_type"},
		{"too long", func(e *api.AuditEvent) { e.CorrelationID = strings.Repeat("x", 256) }, "correlation_id"},
		{"no such outcome", func(e *api.AuditEvent) { e.EventOutcome = "maybe" }, "event_outcome"},
		{"in the future", func(e *api.AuditEvent) { e.EventTimestamp = noon.Add(6 * time.Minute) }, "event_timestamp"},
		{"not an object", func(e *api.AuditEvent) { e.EventData = json.RawMessage(`[]`) }, "event_data"},
		{"a number that changes", func(e *api.AuditEvent) { e.EventData = json.RawMessage(`{"a":{"b":1e999}}`) }, "event_data/a/b"},
	} {
		e := event(1, c.change)
		p := wantProblem(t, w.wrong(t, eventsPath, e), http.StatusBadRequest, c.field)
		if p.Errors[0].Message == "" {
			t.Errorf("%s: no message", c.why)
		}
	}
	if got := w.total(t); got != 0 {
		t.Errorf("%d events are kept, want none", got)
	}
}

func strictJSON(t *testing.T, w *world) {
	valid, err := json.Marshal(event(1))
	must(t, err)
	with := func(member string) string { return strings.Replace(string(valid), "{", "{"+member+",", 1) }
	for _, c := range []struct{ why, body, field string }{
		{"empty", "", "body"},
		{"not JSON", "hello", "body"},
		{"bytes after the value", string(valid) + "x", "body"},
		{"a second value", string(valid) + string(valid), "body"},
		{"cut short", string(valid[:len(valid)-1]), "body"},
		{"an unknown member", with(`"event_typo":"x"`), "event_typo"},
		{"a member in other letters", with(`"Severity":"x"`), "Severity"},
		{"a repeated member", with(`"version":"2"`), "version"},
		{"U+0000", with(`"severity":"a\u0000"`), "severity"},
		{"broken UTF-8", with("\"severity\":\"\xff\""), "severity"},
		{"half a surrogate pair", with(`"severity":"\ud800"`), "severity"},
		{"of another type", with(`"severity":5`), "severity"},
		{"an id in braces", with(`"parent_event_id":"{6ba7b810-9dad-11d1-80b4-00c04fd430c8}"`), "parent_event_id"},
		{"the id of nothing", with(`"parent_event_id":"00000000-0000-0000-0000-000000000000"`), "parent_event_id"},
		{"a fraction of a millisecond", with(`"duration_ms":0.5`), "duration_ms"},
		{"a negative duration", with(`"duration_ms":-1`), "duration_ms"},
		{"repeated inside the data", strings.Replace(string(valid), `{"n":1}`, `{"n":1,"n":1}`, 1), "event_data.n"},
		{"a time without a zone", strings.Replace(string(valid), `Z"`, `"`, 1), "event_timestamp"},
	} {
		t.Run(c.why, func(t *testing.T) {
			wantProblem(t, w.wrong(t, eventsPath, c.body), http.StatusBadRequest, c.field)
		})
	}
	if got := w.total(t); got != 0 {
		t.Errorf("%d events are kept, want none", got)
	}
}

func parents(t *testing.T, w *world) {
	child := func(n, parent int) api.AuditEvent {
		return event(n, func(e *api.AuditEvent) { e.ParentEventID = event(parent).EventID })
	}
	wantProblem(t, w.post(t, eventsPath, child(2, 1)), http.StatusBadRequest, "parent_event_id")
	wantProblem(t, w.post(t, batchPath, []api.AuditEvent{event(5), child(2, 1)}), http.StatusBadRequest, "[1].parent_event_id")
	want[api.BatchAcknowledgement](t, w.post(t, batchPath, []api.AuditEvent{child(3, 1), event(1)}), http.StatusCreated)
	want[api.EventAcknowledgement](t, w.post(t, eventsPath, child(4, 3)), http.StatusCreated)
	if got := w.total(t); got != 3 {
		t.Errorf("%d events are kept, want 3", got)
	}
}

func mediaTypes(t *testing.T, w *world) {
	send := func(body, contentType, encoding string) response {
		header := map[string]string{"Content-Type": contentType}
		if encoding != "" {
			header["Content-Encoding"] = encoding
		}
		return w.send(t, w.handler, request{method: "POST", path: eventsPath, body: body, header: header, wrong: true})
	}
	raw, err := json.Marshal(event(1))
	must(t, err)
	valid := string(raw)
	wantProblem(t, send(valid, "text/plain", ""), http.StatusUnsupportedMediaType)
	wantProblem(t, send(valid, "", ""), http.StatusUnsupportedMediaType)
	wantProblem(t, send(valid, "application/json", "br"), http.StatusUnsupportedMediaType)
	wantProblem(t, send(valid, "application/json", "gzip"), http.StatusBadRequest)
	want[api.EventAcknowledgement](t, send(zipped(t, valid), "application/json; charset=utf-8", "gzip"), http.StatusCreated)
	large := strings.Repeat(" ", api.MaxBodyBytes+1)
	wantProblem(t, send(large, "application/json", ""), http.StatusRequestEntityTooLarge)
	wantProblem(t, send(zipped(t, large), "application/json", "gzip"), http.StatusRequestEntityTooLarge)
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	must(t, err)
	must(t, z.Close())
	return b.String()
}

func batch(t *testing.T, w *world) {
	events := []api.AuditEvent{event(3), event(1), event(2)}
	wanted := []uuid.UUID{event(3).EventID, event(1).EventID, event(2).EventID}
	for _, status := range []int{http.StatusCreated, http.StatusOK} {
		got := want[api.BatchAcknowledgement](t, w.post(t, batchPath, events), status)
		if diff := cmp.Diff(wanted, got.EventIDs); diff != "" {
			t.Errorf("ids (-want +got):\n%s", diff)
		}
	}
	more := want[api.BatchAcknowledgement](t, w.post(t, batchPath, append(events, event(4))), http.StatusCreated)
	if len(more.EventIDs) != 4 || w.total(t) != 4 {
		t.Errorf("%d ids, %d events kept; want 4", len(more.EventIDs), w.total(t))
	}
}

func batchProblems(t *testing.T, w *world) {
	want[api.EventAcknowledgement](t, w.post(t, eventsPath, event(9)), http.StatusCreated)
	bad := event(2, func(e *api.AuditEvent) { e.EventCategory = "Not so" })
	for _, c := range []struct {
		why    string
		events any
		status int
		fields []string
	}{
		{"one is wrong", []api.AuditEvent{event(1), bad}, 400, []string{"[1].event_category"}},
		{"one is in conflict", []api.AuditEvent{event(1), event(9, severe)}, 409, []string{"[1].event_id"}},
		{"one comes twice", []api.AuditEvent{event(1), event(2), event(1)}, 400, []string{"[2].event_id"}},
		{"one is no event", `[{"version":"1"},5]`, 400, []string{"[1]"}},
		{"none", []api.AuditEvent{}, 400, []string{"body"}},
		{"null", "null", 400, []string{"body"}},
		{"one instead of a list", event(1), 400, []string{"body"}},
	} {
		t.Run(c.why, func(t *testing.T) {
			wantProblem(t, w.wrong(t, batchPath, c.events), c.status, c.fields...)
		})
	}
	if got := w.total(t); got != 1 {
		t.Errorf("%d events are kept, want the first one only", got)
	}
}

func batchLimit(t *testing.T, w *world) {
	handler := w.serve(func(o *datastorage.Options) { o.Limits = datastorage.Limits{BatchEvents: 2, BodyBytes: 4096} })
	send := func(body any) response {
		return w.send(t, handler, request{method: "POST", path: batchPath, body: body})
	}
	res := send([]api.AuditEvent{event(1), event(2), event(3)})
	wantProblem(t, res, http.StatusRequestEntityTooLarge)
	for header, limit := range map[string]string{api.HeaderMaxBatchEvents: "2", api.HeaderMaxBodyBytes: "4096"} {
		if got := res.header.Get(header); got != limit {
			t.Errorf("%s is %q, want %q", header, got, limit)
		}
	}
	want[api.BatchAcknowledgement](t, send([]api.AuditEvent{event(1), event(2)}), http.StatusCreated)
}
