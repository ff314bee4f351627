package datastorage_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

const (
	holdsPath     = "/api/v1/audit/holds"
	retentionPath = "/api/v1/audit/retention"
)

func (w *world) hold(t *testing.T, correlation string) api.Hold {
	t.Helper()
	return want[api.Hold](t, w.post(t, holdsPath, api.HoldRequest{CorrelationID: correlation, Reason: "case 7 at court"}), http.StatusCreated)
}

func holds(t *testing.T, w *world) {
	first, second := w.hold(t, "case-1"), w.hold(t, "case-2")
	if got := want[api.HoldList](t, w.get(t, holdsPath), http.StatusOK); len(got.Holds) != 2 || got.Holds[0] != second {
		t.Errorf("holds: %+v", got)
	}
	release := func(id uuid.UUID) response {
		return w.post(t, holdsPath+"/"+id.String()+"/release", api.HoldRelease{Reason: "closed"})
	}
	released := want[api.Hold](t, release(first.HoldID), http.StatusOK)
	again := want[api.Hold](t, release(first.HoldID), http.StatusOK)
	if released.ReleaseReason != "closed" || released.ReleasedAt.IsZero() || released != again {
		t.Errorf("released: %+v, and again: %+v", released, again)
	}
	wantProblem(t, release(uuid.New()), http.StatusNotFound)
	for query, number := range map[string]int{"": 1, "?correlation_id=case-1": 0, "?correlation_id=case-1&released=true": 1} {
		if got := want[api.HoldList](t, w.get(t, holdsPath+query), http.StatusOK); len(got.Holds) != number {
			t.Errorf("%s: %+v, want %d", query, got, number)
		}
	}
	wantProblem(t, w.wrong(t, holdsPath, `{"correlation_id":"","reason":"x"}`), http.StatusBadRequest, "correlation_id")
	wantProblem(t, w.wrong(t, holdsPath, `{"correlation_id":"x","reason":""}`), http.StatusBadRequest, "reason")
	placed := w.query(t, "event_type=datastorage.hold.placed").Data
	gone := w.query(t, "event_type=datastorage.hold.released&correlation_id=case-1").Data
	if len(placed) != 2 || len(gone) != 1 {
		t.Errorf("%d holds and %d releases are audited, want 2 and 1", len(placed), len(gone))
	}
}

// holdsAgain places a hold whose answer was lost, and one whose audit event could not be
// recorded: the same again is the same hold, audited once.
func holdsAgain(t *testing.T, w *world) {
	request := api.HoldRequest{HoldID: uuid.New(), CorrelationID: "case-1", Reason: "court"}
	away := &awayTrail{Trail: w.store}
	handler := w.serve(func(o *datastorage.Options) { o.Trail, o.Overflow = away, datastorage.NoOverflow{} })
	wantProblem(t, w.send(t, handler, placing(request)), http.StatusServiceUnavailable)
	if got := w.query(t, "event_type=datastorage.hold.placed").Data; len(got) != 0 {
		t.Fatalf("audited as %+v", got)
	}
	away.back = true
	first := want[api.Hold](t, w.send(t, handler, placing(request)), http.StatusOK)
	again := want[api.Hold](t, w.send(t, handler, placing(request)), http.StatusOK)
	if first != again || first.HoldID != request.HoldID {
		t.Errorf("placed: %+v, and again: %+v", first, again)
	}
	placed := w.query(t, "event_type=datastorage.hold.placed").Data
	if len(placed) != 1 || !placed[0].EventTimestamp.Equal(first.PlacedAt) || placed[0].CorrelationID != "case-1" {
		t.Errorf("audited as %+v", placed)
	}
	for _, other := range []api.HoldRequest{
		{HoldID: request.HoldID, CorrelationID: "case-2", Reason: "court"}, {HoldID: request.HoldID, CorrelationID: "case-1", Reason: "other"},
	} {
		wantProblem(t, w.send(t, handler, placing(other)), http.StatusConflict, "hold_id")
	}
	if got := want[api.HoldList](t, w.get(t, holdsPath), http.StatusOK); len(got.Holds) != 1 {
		t.Errorf("holds: %+v", got)
	}
	wantProblem(t, w.wrong(t, holdsPath, `{"hold_id":"5","correlation_id":"x","reason":"x"}`), http.StatusBadRequest, "hold_id")
}

func placing(r api.HoldRequest) request { return request{method: "POST", path: holdsPath, body: r} }

// awayTrail is a trail that cannot be written until it is back.
type awayTrail struct {
	datastorage.Trail
	back bool
}

func (a *awayTrail) Append(ctx context.Context, events []audit.Sealed) ([]bool, error) {
	if !a.back {
		return nil, datastorage.ErrAway
	}
	return a.Trail.Append(ctx, events)
}

// retention removes what a policy does not keep, and nothing that is held: also not
// what comes after the hold.
func retention(t *testing.T, w *world) {
	w.hold(t, "case-2")
	held := func(e *api.AuditEvent) { e.CorrelationID = "case-2" }
	february := func(e *api.AuditEvent) { e.EventTimestamp = noon.AddDate(0, 0, -5) }
	other := func(e *api.AuditEvent) { e.EventCategory = "other" }
	want[api.BatchAcknowledgement](t, w.post(t, batchPath, []api.AuditEvent{
		event(1, february), event(2, february), event(3), event(4, held), event(5, other),
	}), http.StatusCreated)
	nowadays := w.serve(func(o *datastorage.Options) {
		o.Now = time.Now
		o.Policies = []api.RetentionPolicy{{Category: "test", KeepDays: 30}}
	})
	plan := want[api.RetentionPlan](t, w.send(t, nowadays, request{method: "GET", path: retentionPath}), http.StatusOK)
	months := map[string]api.RetentionMonth{}
	for _, m := range plan.Months {
		months[m.Month] = m
	}
	if diff := cmp.Diff(map[string]api.RetentionMonth{
		"2026-02": {Month: "2026-02", Events: 2, Expired: 2, Whole: true},
		"2026-03": {Month: "2026-03", Events: 3, Expired: 1, Held: 1},
	}, map[string]api.RetentionMonth{"2026-02": months["2026-02"], "2026-03": months["2026-03"]}); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if got := w.total(t); got != 6 {
		t.Errorf("%d events after a dry run, want 5 and the hold", got)
	}
	report := want[api.RetentionReport](t, w.send(t, nowadays, request{method: "POST", path: retentionPath + "/runs"}), http.StatusOK)
	removed := map[string]api.RetentionRemoval{}
	for _, r := range report.Removed {
		removed[r.Month] = r
	}
	if diff := cmp.Diff(api.RetentionRemoval{Month: "2026-02", Events: 2, Whole: true}, removed["2026-02"]); diff != "" {
		t.Errorf("February (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(api.RetentionRemoval{Month: "2026-03", Events: 1}, removed["2026-03"]); diff != "" {
		t.Errorf("March (-want +got):\n%s", diff)
	}
	left := w.query(t, "until=2026-04-01&order=asc")
	if diff := cmp.Diff([]uuid.UUID{event(5).EventID, event(4).EventID}, idsOf(left)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	// What was removed keeps its id, and the same event again is no new one.
	want[api.EventAcknowledgement](t, w.post(t, eventsPath, event(1, february)), http.StatusOK)
	run := w.query(t, "correlation_id=retention-"+report.RunID.String()+"&order=asc").Data
	if len(run) != 2 || run[0].EventType != "datastorage.retention.started" || run[1].EventType != "datastorage.retention.completed" {
		t.Errorf("the run is audited as %+v", run)
	}
}
