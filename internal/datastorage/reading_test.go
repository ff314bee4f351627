package datastorage_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/completeness"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

const (
	exportPath  = "/api/v1/audit/events/export"
	feedPath    = "/api/v1/audit/events/feed"
	summaryPath = "/api/v1/audit/summary"
	notifyPath  = "/api/v1/audit/notifications"
)

// The checker reads these as text.
func init() {
	for _, media := range []string{"application/x-ndjson", "text/event-stream", "text/csv"} {
		openapi3filter.RegisterBodyDecoder(media, openapi3filter.PlainBodyDecoder)
	}
}

// dial serves the world over HTTP and returns a client.
func (w *world) dial(t *testing.T, handler http.Handler) *api.Client {
	t.Helper()
	listener := httptest.NewServer(handler)
	t.Cleanup(listener.Close)
	c, err := api.New(listener.URL, listener.Client(), nil)
	must(t, err)
	return c
}

func queryRanges(t *testing.T, w *world) {
	var events []api.AuditEvent
	for i, data := range []string{
		`{"workflow":{"workflow_id":"a","steps":[{"exit":1},{"exit":137}]},"n":1}`,
		`{"workflow":{"workflow_id":"b"},"n":2.5,"labels":{"app.kubernetes.io/name":"web"},"x":null}`,
		`{"workflow":"a","n":"1","; DROP TABLE audit_events; --":{"'":"'"}}`,
	} {
		events = append(events, event(i, func(e *api.AuditEvent) {
			took := int64(i * 1000)
			e.EventData, e.DurationMS = json.RawMessage(data), &took
		}))
	}
	events = append(events, event(3)) // without a duration
	want[api.BatchAcknowledgement](t, w.post(t, batchPath, events), http.StatusCreated)
	for _, c := range []struct {
		query url.Values
		want  []int
	}{
		{url.Values{"event_data": {"workflow.workflow_id=a"}}, []int{0}},
		{url.Values{"event_data": {"workflow.steps.1.exit=137"}}, []int{0}},
		{url.Values{"event_data": {"workflow.steps"}}, []int{0}},
		{url.Values{"event_data": {"workflow=a"}}, []int{2}},
		{url.Values{"event_data": {"n=1"}}, []int{0, 2}},
		{url.Values{"event_data": {"n>=1"}}, []int{0, 1, 3}},
		{url.Values{"event_data": {"n>1"}}, []int{1, 3}},
		{url.Values{"event_data": {"n>1", "n<3e0"}}, []int{1}},
		{url.Values{"event_data": {"n<=-1"}}, nil},
		{url.Values{"event_data": {"x"}}, []int{1}},
		{url.Values{"event_data": {"x=null"}}, nil},
		{url.Values{"event_data": {`labels."app.kubernetes.io/name"=web`}}, []int{1}},
		{url.Values{"event_data": {`"; DROP TABLE audit_events; --"."'"='`}}, []int{2}},
		{url.Values{"event_data": {`n=1' OR '1'='1`}}, nil},
		{url.Values{"min_duration_ms": {"0"}}, []int{0, 1, 2}},
		{url.Values{"min_duration_ms": {"1000"}, "max_duration_ms": {"1999"}}, []int{1}},
		{url.Values{"max_duration_ms": {"1000"}, "event_data": {"workflow.workflow_id"}}, []int{0, 1}},
		{url.Values{"received_since": {"1h"}, "received_until": {"2026-03-01T12:00:00.000001Z"}, "until": {"2s"}}, []int{3}},
		{url.Values{"received_until": {"1h"}}, nil},
	} {
		var want []uuid.UUID
		for _, n := range c.want {
			want = append(want, event(n).EventID)
		}
		page := w.query(t, c.query.Encode())
		if diff := cmp.Diff(want, idsOf(page)); diff != "" || page.Pagination.Total != len(want) {
			t.Errorf("%v: total %d (-want +got):\n%s", c.query, page.Pagination.Total, diff)
		}
	}
}

func export(t *testing.T, w *world) {
	dangerous := event(0, func(e *api.AuditEvent) {
		e.ActorID, e.ErrorMessage, e.ResourceName = "=cmd|' /C calc'!A0", "two\r\nlines, \"quoted\"", "'quoted"
		e.EventData = json.RawMessage(`{"a":"=1","é":"\u2028"}`)
	})
	events := []api.AuditEvent{dangerous, event(1), event(2)}
	want[api.BatchAcknowledgement](t, w.post(t, batchPath, events), http.StatusCreated)

	res := w.get(t, exportPath)
	var ids []uuid.UUID
	for line := range strings.Lines(string(res.body)) {
		var e api.StoredEvent
		must(t, json.Unmarshal([]byte(line), &e))
		ids = append(ids, e.EventID)
		if wrong := completeness.Altered(e); wrong != "" || e.ReceivedAt.IsZero() {
			t.Errorf("a line is not the event: %s: %s", wrong, line)
		}
	}
	if diff := cmp.Diff([]uuid.UUID{event(2).EventID, event(1).EventID, event(0).EventID}, ids); diff != "" {
		t.Errorf("lines, the oldest first (-want +got):\n%s", diff)
	}
	exportRows(t, w)
	wantProblem(t, w.send(t, w.handler, request{method: "GET", path: exportPath + "?format=xml", wrong: true}), 400, "format")
	wantProblem(t, w.send(t, w.handler, request{method: "GET", path: exportPath + "?limit=1", wrong: true}), 400, "limit")
	var whole bytes.Buffer
	n, err := w.dial(t, w.handler).Export(t.Context(), api.ExportAuditEventsParams{CorrelationID: "case-1"}, &whole)
	must(t, err)
	if n != 3 || !bytes.Equal(whole.Bytes(), res.body) {
		t.Errorf("the client says %d events; the bytes are the same: %v", n, bytes.Equal(whole.Bytes(), res.body))
	}
}

// exportRows reads the table as a spreadsheet does.
func exportRows(t *testing.T, w *world) {
	t.Helper()
	res := w.get(t, exportPath+"?format=csv&order=desc")
	rows, err := csv.NewReader(bytes.NewReader(res.body)).ReadAll()
	must(t, err)
	if len(rows) != 4 || !bytes.Contains(res.body, []byte("\r\n")) || res.header.Get("Content-Type") != "text/csv; charset=utf-8; header=present" {
		t.Fatalf("%d rows of %q:\n%s", len(rows), res.header.Get("Content-Type"), res.body)
	}
	cell := map[string]string{}
	for i, name := range rows[0] {
		cell[name] = rows[1][i]
	}
	for name, want := range map[string]string{
		"actor_id": "'=cmd|' /C calc'!A0", "error_message": "two\nlines, \"quoted\"", "resource_name": "''quoted",
		"event_data": "{\"a\":\"=1\",\"é\":\"\u2028\"}", "event_timestamp": "2026-03-01T12:00:00.000000Z", "duration_ms": "",
	} {
		if cell[name] != want {
			t.Errorf("%s is %q, want %q", name, cell[name], want)
		}
	}
	if rows := strings.Count(string(w.get(t, exportPath+"?format=csv&namespace=nowhere").body), "\r\n"); rows != 1 {
		t.Errorf("an empty table has %d rows, want the names of the columns", rows)
	}
}

// broken is a reader that fails in the middle.
type broken struct {
	datastorage.Reader
	after int
}

func (b broken) Export(ctx context.Context, q datastorage.Query, take func(datastorage.Record) error) error {
	n := 0
	return b.Reader.Export(ctx, q, func(r datastorage.Record) error {
		if n++; n > b.after {
			return errors.New("the disk is gone")
		}
		return take(r)
	})
}

func exportBreaks(t *testing.T, w *world) {
	for i := range 10 {
		var events []api.AuditEvent
		for j := range 100 {
			events = append(events, event(100*i+j, func(e *api.AuditEvent) { e.ErrorMessage = strings.Repeat("x", 500) }))
		}
		want[api.BatchAcknowledgement](t, w.post(t, batchPath, events), http.StatusCreated)
	}
	for after, class := range map[int]string{0: "internal", 900: "broke off"} {
		handler := w.serve(func(o *datastorage.Options) { o.Reader = broken{w.store, after} })
		c := w.dial(t, handler)
		c.Attempts = 1
		_, err := c.Export(t.Context(), api.ExportAuditEventsParams{}, io.Discard)
		if err == nil || !errors.Is(err, api.ErrUnavailable) || !strings.Contains(err.Error(), map[string]string{"internal": "fault of the service"}[class]) {
			t.Errorf("an export that failed after %d events: %v", after, err)
		}
	}
}

func feed(t *testing.T, w *world) {
	w.seed(t, 5)
	all := w.follow(t, api.FollowAuditEventsParams{From: api.FollowAuditEventsParamsFromBeginning})
	if len(all) != 5 {
		t.Fatalf("%d events from the beginning, want 5", len(all))
	}
	for _, e := range all {
		if wrong := completeness.Altered(e.StoredEvent); wrong != "" {
			t.Error(wrong)
		}
	}
	after := w.follow(t, api.FollowAuditEventsParams{Cursor: all[2].Cursor})
	if diff := cmp.Diff(cursors(all[3:]), cursors(after)); diff != "" {
		t.Errorf("after the third (-want +got):\n%s", diff)
	}
	if got := w.follow(t, api.FollowAuditEventsParams{}); len(got) != 0 {
		t.Errorf("%d events from now on, want none", len(got))
	}
	raw := w.send(t, w.handler, request{method: "GET", path: feedPath + "?wait=never", header: map[string]string{"Last-Event-ID": all[3].Cursor}})
	if n := strings.Count(string(raw.body), "event: audit\n"); n != 1 || raw.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%d events after Last-Event-ID, want 1:\n%s", n, raw.body)
	}
	want[api.EventAcknowledgement](t, w.post(t, eventsPath, event(50, severe)), http.StatusCreated)
	got := w.follow(t, api.FollowAuditEventsParams{Cursor: all[4].Cursor, Severity: "high"})
	if len(got) != 1 || got[0].EventID != event(50).EventID {
		t.Errorf("%d events by filter, want the new one", len(got))
	}
	for query, field := range map[string]string{
		"cursor=1.2.3": "cursor", "cursor=1.99999999999.0." + uuid.Nil.String(): "cursor", "from=here": "from", "since=1h": "since",
	} {
		wantProblem(t, w.send(t, w.handler, request{method: "GET", path: feedPath + "?wait=never&" + query, wrong: true}), 400, field)
	}
}

// follow takes all that there is, over HTTP.
func (w *world) follow(t *testing.T, q api.FollowAuditEventsParams) (all []api.FeedEvent) {
	t.Helper()
	q.Wait = api.FollowAuditEventsParamsWaitNever
	for e, err := range w.dial(t, w.handler).Follow(t.Context(), q) {
		must(t, err)
		all = append(all, e)
	}
	return all
}

func cursors(events []api.FeedEvent) (all []string) {
	for _, e := range events {
		all = append(all, e.Cursor)
	}
	return all
}

// feedWaits follows while events come, through two services: when the first ends,
// the client goes on with the second, and misses nothing.
func feedWaits(t *testing.T, w *world) {
	ending := make(chan struct{})
	first := w.serve(func(o *datastorage.Options) { o.Ending = ending })
	second := w.serve()
	connections := make(chan int, 10)
	c := w.dial(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		connections <- 1
		select {
		case <-ending:
			second.ServeHTTP(rw, r)
		default:
			first.ServeHTTP(rw, r)
		}
	}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := make(chan uuid.UUID)
	go func() {
		defer close(got)
		for e, err := range c.Follow(ctx, api.FollowAuditEventsParams{From: api.FollowAuditEventsParamsFromBeginning}) {
			if err != nil {
				t.Error(err)
				return
			}
			got <- e.EventID
		}
	}()
	<-connections
	expect := func(n int) {
		t.Helper()
		want[api.EventAcknowledgement](t, w.post(t, eventsPath, event(n)), http.StatusCreated)
		if id, open := <-got; id != event(n).EventID {
			t.Fatalf("got event %s (open: %v), want that of %d", id, open, n)
		}
	}
	expect(1)
	expect(2)
	close(ending)
	<-connections
	expect(3)
	cancel()
	if _, open := <-got; open {
		t.Error("more came than was sent")
	}
}

func summary(t *testing.T, w *world) {
	var events []api.AuditEvent
	for i := range 12 {
		events = append(events, event(i*3600, func(e *api.AuditEvent) {
			if took := int64(i * 10); i%2 == 0 {
				e.DurationMS = &took
			}
			e.EventData = json.RawMessage(fmt.Sprintf(`{"workflow":{"workflow_id":"w%d"},"target":"t"}`, i%3))
			if i == 11 {
				e.EventOutcome, e.EventData = api.EventOutcomeFailure, json.RawMessage(`{}`)
			}
		}))
	}
	events = append(events, event(8*24*3600, func(e *api.AuditEvent) { e.EventTimestamp = noon.Add(-7*24*time.Hour + time.Second) }))
	want[api.BatchAcknowledgement](t, w.post(t, batchPath, events), http.StatusCreated)
	read := func(query string) api.Summary {
		t.Helper()
		return want[api.Summary](t, w.get(t, summaryPath+"?"+query), http.StatusOK)
	}
	all := read("since=24h")
	if len(all.Data) != 1 || all.Data[0].Count != 12 || all.HasMore || !all.Since.Equal(noon.Add(-24*time.Hour)) {
		t.Errorf("all: %+v", all)
	}
	if diff := cmp.Diff(&api.Durations{Count: 6, SumMS: 300, MinMS: 0, AvgMS: 50, P50MS: 40, P95MS: 100, MaxMS: 100}, all.Data[0].Durations); diff != "" {
		t.Errorf("durations (-want +got):\n%s", diff)
	}
	by := read("since=24h&group_by=workflow,event_outcome")
	var got []string
	for _, g := range by.Data {
		got = append(got, fmt.Sprint(g.Group, " ", g.Count))
	}
	if diff := cmp.Diff([]string{
		"map[event_outcome:success workflow:w0] 4", "map[event_outcome:success workflow:w1] 4",
		"map[event_outcome:success workflow:w2] 3", "map[event_outcome:failure] 1",
	}, got); diff != "" {
		t.Errorf("by workflow and outcome (-want +got):\n%s", diff)
	}
	hours := read("bucket=hour&limit=3&group_by=target")
	if len(hours.Data) != 3 || !hours.HasMore || !hours.Data[0].Bucket.Equal(noon.Add(-7*24*time.Hour)) {
		t.Errorf("by hour, of the last 7 days: %+v", hours)
	}
	if body := w.get(t, summaryPath+"?namespace=nowhere").body; !strings.Contains(string(body), `"data":[]`) {
		t.Errorf("no group is not an empty list: %s", body)
	}
	for query, field := range map[string]string{
		"group_by=colour": "group_by", "group_by=target,target": "group_by", "bucket=year": "bucket", "limit=0": "limit",
		"group_by=target,workflow,severity,namespace,error_code": "group_by",
	} {
		wantProblem(t, w.send(t, w.handler, request{method: "GET", path: summaryPath + "?" + query, wrong: true}), 400, field)
	}
}

func completenessOfExecutions(t *testing.T, w *world) {
	step := func(n int, uid, action string) api.AuditEvent {
		return event(n, func(e *api.AuditEvent) {
			e.EventCategory, e.EventAction, e.EventType = completeness.Category, action, completeness.Category+"."+action
			e.ResourceID, e.ResourceName, e.Namespace, e.CorrelationID = uid, "heal", "payment", uid
		})
	}
	events := []api.AuditEvent{
		step(9, "whole", "created"), step(8, "whole", "locked"), step(7, "whole", "started"), step(6, "whole", "completed"),
		step(5, "torn", "created"), step(4, "torn", "started"),
	}
	want[api.BatchAcknowledgement](t, w.post(t, batchPath, events), http.StatusCreated)
	path := func(uid string) string { return "/api/v1/audit/executions/" + uid + "/completeness" }
	whole := want[api.Completeness](t, w.get(t, path("whole")), http.StatusOK)
	if whole.State != api.CompletenessStateComplete || len(whole.Present) != 4 || whole.Namespace != "payment" || whole.Name != "heal" {
		t.Errorf("%+v", whole)
	}
	torn := want[api.Completeness](t, w.get(t, path("torn")), http.StatusOK)
	if torn.State != api.CompletenessStateBroken || len(torn.Gaps) != 1 || torn.Gaps[0].Action != "locked" {
		t.Errorf("%+v", torn)
	}
	wantProblem(t, w.get(t, path("nobody")), http.StatusNotFound)
	wantProblem(t, w.send(t, w.handler, request{method: "GET", path: path(strings.Repeat("x", 256)), wrong: true}), 400, "execution_id")
}

func notification(t *testing.T, w *world) {
	n := api.Notification{
		RemediationID: "case-1", NotificationID: "note-1", Recipient: "oncall@example.com", Channel: "email",
		MessageSummary: "payment-api was healed", Status: api.NotificationStatusSent, SentAt: noon.Add(-time.Minute),
	}
	got := want[api.NotificationAcknowledgement](t, w.post(t, notifyPath, n), http.StatusCreated)
	page := w.query(t, "event_category=notification&correlation_id=case-1&event_data=recipient=oncall@example.com")
	if len(page.Data) != 1 || page.Data[0].EventID != got.EventID || page.Data[0].EventType != "notification.sent" || got.NotificationID != "note-1" {
		t.Errorf("acknowledged %+v, in the trail %+v", got, page.Data)
	}
	wantProblem(t, w.post(t, notifyPath, n), http.StatusConflict, "notification_id")
	n.MessageSummary = "something else"
	wantProblem(t, w.post(t, notifyPath, n), http.StatusConflict, "notification_id")
	n.NotificationID, n.SentAt = "note-2", noon.Add(time.Hour)
	wantProblem(t, w.post(t, notifyPath, n), http.StatusBadRequest, "sent_at")
	wantProblem(t, w.wrong(t, notifyPath, map[string]any{"status": "lost", "escalation_level": 101, "channel": strings.Repeat("x", 51)}),
		http.StatusBadRequest, "remediation_id", "notification_id", "recipient", "channel", "message_summary", "status", "escalation_level")
}
