package datastorage_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
)

const parkedPath = "/api/v1/audit/parked"

// awaitParked waits until so many events wait and so many were moved aside.
func (w *world) awaitParked(t *testing.T, waiting, poisoned int64) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		gotWaiting, gotPoisoned, err := w.overflow.Count(t.Context())
		must(t, err)
		if gotWaiting == waiting && gotPoisoned == poisoned {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d events wait and %d were moved aside; want %d and %d", gotWaiting, gotPoisoned, waiting, poisoned)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (w *world) parked(t *testing.T, query string) api.ParkedPage {
	t.Helper()
	return want[api.ParkedPage](t, w.get(t, parkedPath+query), http.StatusOK)
}

// parkedEvents looks at what is parked and poisoned, retries and purges it.
func parkedEvents(t *testing.T, w *world) {
	want[api.BatchAcknowledgement](t, w.post(t, batchPath, []api.AuditEvent{event(1), event(2)}), http.StatusCreated)
	for n := 1; n <= 3; n++ { // 1 and 2 are in PostgreSQL already, with other content
		sealed, err := audit.Seal(event(n, severe))
		must(t, err)
		sealed.ReceivedAt = noon
		must(t, w.overflow.Park(t.Context(), []audit.Sealed{sealed}))
	}
	page := w.parked(t, "")
	if len(page.Data) != 3 || page.Waiting != 3 || page.Poisoned != 0 || page.Data[0].EventID != event(1).EventID.String() {
		t.Errorf("waiting: %+v", page)
	}
	if rest := w.parked(t, "?limit=2&after="+page.Data[0].Place); len(rest.Data) != 2 || rest.Data[0] != page.Data[1] {
		t.Errorf("behind the first: %+v", rest)
	}
	// What PostgreSQL has is what an id names, whatever was parked meanwhile.
	want[api.EventAcknowledgement](t, w.post(t, eventsPath, event(1)), http.StatusOK)
	wantProblem(t, w.post(t, eventsPath, event(1, severe)), http.StatusConflict, "event_id")
	wantProblem(t, w.post(t, eventsPath, event(3)), http.StatusConflict, "event_id")
	w.redrive(t)
	w.awaitParked(t, 0, 2)
	aside := w.parked(t, "?queue=poisoned")
	if len(aside.Data) != 2 || !strings.Contains(aside.Data[0].Reason, "another event") || aside.Data[0].MovedAsideAt == "" ||
		!strings.Contains(aside.Data[0].Content, `"severity":"high"`) {
		t.Fatalf("moved aside: %+v", aside)
	}
	places := []string{aside.Data[0].Place}
	retried := want[api.ParkedChange](t, w.post(t, parkedPath+"/retry", api.ParkedRetry{Places: places}), http.StatusOK)
	w.awaitParked(t, 0, 2) // it is as unfit as it was
	places = nil
	for _, e := range w.parked(t, "?queue=poisoned").Data {
		places = append(places, e.Place)
	}
	purge := api.ParkedPurge{Queue: api.ParkedQueuePoisoned, Places: append(places, "1-1"), Reason: "a client used ids twice"}
	purged := want[api.ParkedChange](t, w.post(t, parkedPath+"/purge", purge), http.StatusOK)
	if retried.Events != 1 || purged.Events != 2 {
		t.Errorf("%d retried, %d purged", retried.Events, purged.Events)
	}
	w.awaitParked(t, 0, 0)
	if again := want[api.ParkedChange](t, w.post(t, parkedPath+"/purge", purge), http.StatusOK); again.Events != 0 {
		t.Errorf("%d purged again", again.Events)
	}
	trail := w.query(t, "event_type=datastorage.parked.purged&correlation_id=case-1")
	if len(trail.Data) != 2 || !strings.Contains(string(trail.Data[0].EventData), "a client used ids twice") ||
		!strings.Contains(string(trail.Data[0].EventData), `\"severity\":\"high\"`) {
		t.Errorf("the purge is audited as %+v", trail.Data)
	}
	if len(w.query(t, "event_type=datastorage.parked.retried").Data) != 1 {
		t.Error("the retry is not audited")
	}
	parkedProblems(t, w)
}

// damagedEvents purges what no client could have sent: each is in the trail, as far as
// an event can carry it.
func damagedEvents(t *testing.T, w *world) {
	options, err := redis.ParseURL(w.redis.URL())
	must(t, err)
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }()
	quotes, err := audit.Seal(event(1, func(e *api.AuditEvent) {
		e.EventData = json.RawMessage(`{"text":"` + strings.Repeat(`\"`, 32_000-400) + `"}`)
	}))
	must(t, err)
	nameless, err := audit.Seal(event(2, func(e *api.AuditEvent) { e.CorrelationID = "" }))
	must(t, err)
	var places []string
	for _, c := range []struct{ id, content, reason string }{
		{"a\x00b", "no JSON", "x"},
		{"\xff", "\x00", "x\x00y"},
		{strings.Repeat("x", 100_000), "\xff", strings.Repeat("y", 100_000)},
		{event(1).EventID.String(), string(quotes.Content), "x"},
		{event(2).EventID.String(), string(nameless.Content), "x"},
		{event(3).EventID.String(), strings.Repeat("z", 128<<10), "x"},
	} {
		place, err := client.XAdd(t.Context(), &redis.XAddArgs{
			Stream: "{datastorage}:poison", Values: []any{"id", c.id, "content", c.content, "reason", c.reason},
		}).Result()
		must(t, err)
		places = append(places, place)
	}
	purge := api.ParkedPurge{Queue: api.ParkedQueuePoisoned, Places: places, Reason: "damaged"}
	if got := want[api.ParkedChange](t, w.post(t, parkedPath+"/purge", purge), http.StatusOK); got.Events != len(places) {
		t.Errorf("%d purged, want %d", got.Events, len(places))
	}
	kept := 0
	trail := w.query(t, "event_type=datastorage.parked.purged").Data
	for _, e := range trail {
		if strings.Contains(string(e.EventData), `"content":`) {
			kept++
		}
	}
	if len(trail) != len(places) || kept != 3 { // no JSON, U+FFFD, and the one without a case
		t.Errorf("%d purges are audited, %d with content; want %d and 3", len(trail), kept, len(places))
	}
}

func parkedProblems(t *testing.T, w *world) {
	t.Helper()
	wantProblem(t, w.wrong(t, parkedPath+"/retry", api.ParkedRetry{}), http.StatusBadRequest, "places")
	wantProblem(t, w.post(t, parkedPath+"/retry", api.ParkedRetry{Places: []string{"(1-1"}}), http.StatusBadRequest, "places")
	wantProblem(t, w.wrong(t, parkedPath+"/purge", `{"queue":"all","places":["1-1"],"reason":"x"}`), http.StatusBadRequest, "queue")
	wantProblem(t, w.wrong(t, parkedPath+"/purge", `{"queue":"waiting","places":["1-1"],"reason":""}`), http.StatusBadRequest, "reason")
	res := w.send(t, w.handler, request{method: "GET", path: parkedPath + "?queue=all", wrong: true})
	wantProblem(t, res, http.StatusBadRequest, "queue")
}
