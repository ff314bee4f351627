package datastorage_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

func (w *world) seed(t *testing.T, n int) (newestFirst []uuid.UUID) {
	t.Helper()
	var events []api.AuditEvent
	for i := range n {
		events = append(events, event(i))
		newestFirst = append(newestFirst, event(i).EventID)
	}
	want[api.BatchAcknowledgement](t, w.post(t, batchPath, events), http.StatusCreated)
	return newestFirst
}

func (w *world) query(t *testing.T, query string) api.EventPage {
	t.Helper()
	return want[api.EventPage](t, w.get(t, eventsPath+"?"+query), http.StatusOK)
}

func idsOf(page api.EventPage) (all []uuid.UUID) {
	for _, e := range page.Data {
		all = append(all, e.EventID)
	}
	return all
}

func queryFilters(t *testing.T, w *world) {
	parent := event(1, func(e *api.AuditEvent) { e.EventTimestamp = noon.Add(-48 * time.Hour) })
	zero := int64(0)
	wanted := event(2, func(e *api.AuditEvent) {
		e.ActorType, e.ActorID = "user", "alice & bob"
		e.ResourceType, e.ResourceID, e.ResourceName = "Deployment", "payment/deployment.apps/payment-api", "payment-api"
		e.ParentEventID, e.Namespace, e.ClusterName, e.Severity = parent.EventID, "payment", "local", "critical"
		e.TraceID, e.ErrorCode, e.DurationMS = "4bf92f3577b34da6a3ce929d0e0e4736", "OOMKilled", &zero
		e.SpanID, e.ErrorMessage, e.Version = "00f067aa0ba902b7", "exit code 137", "2"
		e.EventType, e.EventCategory, e.EventAction, e.CorrelationID = "run.failed", "run", "failed", "case-2"
		e.EventOutcome = api.EventOutcomeFailure
	})
	want[api.BatchAcknowledgement](t, w.post(t, batchPath, []api.AuditEvent{parent, wanted, event(3)}), http.StatusCreated)
	for name, value := range map[string]string{
		"event_id": wanted.EventID.String(), "parent_event_id": parent.EventID.String(), "correlation_id": "case-2",
		"event_type": "run.failed", "event_category": "run", "event_action": "failed", "event_outcome": "failure",
		"actor_type": "user", "actor_id": "alice & bob", "resource_type": "Deployment",
		"resource_id": wanted.ResourceID, "resource_name": "payment-api", "namespace": "payment", "cluster_name": "local",
		"severity": "critical", "trace_id": wanted.TraceID, "error_code": "OOMKilled",
		"span_id": wanted.SpanID, "error_message": "exit code 137", "version": "2",
	} {
		page := w.query(t, url.Values{name: {value}}.Encode())
		if diff := cmp.Diff([]uuid.UUID{wanted.EventID}, idsOf(page)); diff != "" {
			t.Errorf("by %s (-want +got):\n%s", name, diff)
		}
	}
	for query, want := range map[string][]uuid.UUID{
		"since=24h":                         {wanted.EventID, event(3).EventID},
		"since=3d&until=1d":                 {parent.EventID},
		"since=2026-03-01":                  {wanted.EventID, event(3).EventID},
		"until=2026-03-01T11:59:57.000001Z": {event(3).EventID, parent.EventID},
		"until=2026-03-01":                  {parent.EventID},
		"order=asc&since=24h":               {event(3).EventID, wanted.EventID},
		"correlation_id=case-1&until=1h":    {parent.EventID},
		"namespace=nowhere":                 nil,
	} {
		page := w.query(t, query)
		if diff := cmp.Diff(want, idsOf(page)); diff != "" || page.Pagination.Total != len(want) {
			t.Errorf("%s: total %d (-want +got):\n%s", query, page.Pagination.Total, diff)
		}
	}
	if body := w.get(t, eventsPath+"?namespace=nowhere").body; !strings.Contains(string(body), `"data":[]`) {
		t.Errorf("no data is not an empty list: %s", body)
	}
}

// queryPages reads pages while somebody writes between them.
func queryPages(t *testing.T, w *world) {
	wanted := w.seed(t, 7)
	var got []uuid.UUID
	query := "since=1h&limit=3"
	for query != "" {
		page := w.query(t, query)
		got = append(got, idsOf(page)...)
		p := page.Pagination
		if p.HasMore != (len(got) < 7) || p.HasMore != (p.NextCursor != "") || p.Total != 7 || p.Limit != 3 {
			t.Errorf("pagination after %d events: %+v", len(got), p)
		}
		want[api.EventAcknowledgement](t, w.post(t, eventsPath, event(100+len(got))), http.StatusCreated)
		if query = ""; p.HasMore {
			query = "since=1h&limit=3&cursor=" + p.NextCursor
		}
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("pages by cursor (-want +got):\n%s", diff)
	}
	first, second, all := w.query(t, "limit=2"), w.query(t, "limit=2&offset=2"), w.query(t, "limit=4")
	if diff := cmp.Diff(idsOf(all), append(idsOf(first), idsOf(second)...)); diff != "" {
		t.Errorf("pages by offset (-want +got):\n%s", diff)
	}
}

// queryLargePages asks for more than an answer has room for. The page says so, and the
// client reads all of them.
func queryLargePages(t *testing.T, w *world) {
	const number = 60
	var events []api.AuditEvent
	for n := range number {
		events = append(events, event(n, func(e *api.AuditEvent) { e.EventData = fmt.Appendf(nil, `{"big":"%0102400d"}`, n) }))
	}
	want[api.BatchAcknowledgement](t, w.post(t, batchPath, events), http.StatusCreated)
	page := w.query(t, "limit=1000")
	if p := page.Pagination; p.Limit != len(page.Data) || len(page.Data) >= number || !p.HasMore || p.NextCursor == "" || p.Total != number {
		t.Errorf("%d events with %+v", len(page.Data), p)
	}
	rest := w.query(t, fmt.Sprintf("limit=1000&offset=%d", page.Pagination.Limit))
	if p := rest.Pagination; len(page.Data)+len(rest.Data) != number || p.HasMore || p.Limit != 1000 || p.Total != number {
		t.Errorf("behind it, %d events with %+v", len(rest.Data), p)
	}
	seen := 0
	for _, err := range w.dial(t, w.handler).AllEvents(t.Context(), api.QueryAuditEventsParams{Limit: 1000}) {
		must(t, err)
		seen++
	}
	if seen != number {
		t.Errorf("the client reads %d events, want %d", seen, number)
	}
}

// answersAreZipped reads one answer compressed and not.
func answersAreZipped(t *testing.T, w *world) {
	w.seed(t, 20)
	plain := w.get(t, eventsPath)
	req := request{method: "GET", path: eventsPath, header: map[string]string{"Accept-Encoding": "gzip"}}.build(t)
	small := perform(w.handler, req)
	z, err := gzip.NewReader(bytes.NewReader(small.body))
	must(t, err)
	body, err := io.ReadAll(z)
	must(t, err)
	if small.header.Get("Content-Encoding") != "gzip" || len(small.body) >= len(plain.body) || !bytes.Equal(body, plain.body) {
		t.Errorf("%q, %d bytes for %d", small.header.Get("Content-Encoding"), len(small.body), len(plain.body))
	}
}

func queryProblems(t *testing.T, w *world) {
	w.seed(t, 3)
	cursor := w.query(t, "limit=1").Pagination.NextCursor
	for query, fields := range map[string][]string{
		"limit=0":                             {"limit"},
		"limit=1001":                          {"limit"},
		"limit=ten":                           {"limit"},
		"offset=-1":                           {"offset"},
		"order=up":                            {"order"},
		"event_outcome=maybe":                 {"event_outcome"},
		"event_id=5":                          {"event_id"},
		"namespace=":                          {"namespace"},
		"namespace=a&namespace=b":             {"namespace"},
		"namespcae=a":                         {"namespcae"},
		"since=yesterday":                     {"since"},
		"until=2026-13-01":                    {"until"},
		"cursor=abc":                          {"cursor"},
		"limit=1&order=asc&cursor=" + cursor:  {"cursor"},
		"limit=1&offset=1&cursor=" + cursor:   {"cursor"},
		"limit=1&severity=a&cursor=" + cursor: {"cursor"},
		"correlation_id=a%00":                 {"correlation_id"},
		"version=" + strings.Repeat("x", 21):  {"version"},
		"received_since=soon":                 {"received_since"},
		"min_duration_ms=-1":                  {"min_duration_ms"},
		"max_duration_ms=1h":                  {"max_duration_ms"},
		"event_data=":                         {"event_data"},
		"event_data=a&event_data=%00":         {"event_data"},
		"event_data=.a":                       {"event_data"},
		"event_data=a..b%3D1":                 {"event_data"},
		"event_data=a%3E%3Dmany":              {"event_data"},
		"event_data=a!1":                      {"event_data"},
		"event_data=" + strings.Repeat("a.", 33) + "a": {"event_data"},
		strings.Repeat("event_data=a&", 9) + "limit=1": {"event_data"},
	} {
		t.Run(query, func(t *testing.T) {
			res := w.send(t, w.handler, request{method: "GET", path: eventsPath + "?" + query, wrong: true})
			wantProblem(t, res, http.StatusBadRequest, fields...)
		})
	}
}
