package datastorage_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
	"kubernaut.ai/kubernaut/test/servers"
)

// TestAway takes the servers away, one after the other and both.
func TestAway(t *testing.T) {
	w := &world{contract: newContract(t), postgres: servers.StartPostgreSQL(t), redis: servers.StartRedis(t)}
	url := w.postgres.Database()
	must(t, postgres.Migrate(t.Context(), url, "service", quietly))
	w.open(t, url)
	want[api.EventAcknowledgement](t, w.post(t, eventsPath, event(1)), http.StatusCreated)

	w.postgres.Kill()
	t.Log("PostgreSQL is away: events are parked, once, and each id keeps its content")
	want[api.EventAcknowledgement](t, w.post(t, eventsPath, event(2)), http.StatusAccepted)
	want[api.EventAcknowledgement](t, w.post(t, eventsPath, event(2)), http.StatusAccepted)
	want[api.BatchAcknowledgement](t, w.post(t, batchPath, []api.AuditEvent{event(1), event(3)}), http.StatusAccepted)
	wantProblem(t, w.post(t, batchPath, []api.AuditEvent{event(4), event(2, severe)}), http.StatusConflict, "[1].event_id")
	wantResults(t, w.post(t, partialPath, []api.AuditEvent{event(1), event(2, severe), event(3)}), result{Status: 202},
		result{409, []string{"event_id"}}, result{Status: 202})
	child := event(5, func(e *api.AuditEvent) { e.ParentEventID = event(2).EventID })
	want[api.EventAcknowledgement](t, w.post(t, eventsPath, child), http.StatusAccepted)
	note := api.Notification{
		RemediationID: "case-1", NotificationID: "note-1", Recipient: "oncall@example.com", Channel: "email",
		MessageSummary: "payment-api was healed", Status: api.NotificationStatusSent, SentAt: noon.Add(-time.Minute),
	}
	want[api.NotificationAcknowledgement](t, w.post(t, notifyPath, note), http.StatusAccepted)
	wantProblem(t, w.post(t, notifyPath, note), http.StatusConflict, "notification_id")
	retry := w.get(t, eventsPath)
	wantProblem(t, retry, http.StatusServiceUnavailable)
	if retry.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}

	t.Log("Both are away: nothing is pretended")
	w.redis.Kill()
	wantProblem(t, w.post(t, eventsPath, event(6)), http.StatusServiceUnavailable)
	wantProblem(t, w.post(t, partialPath, []api.AuditEvent{event(6), event(7)}), http.StatusServiceUnavailable)

	t.Log("Redis is away: writes go on, and what was parked is remembered")
	w.postgres.Restart()
	want[api.EventAcknowledgement](t, w.post(t, eventsPath, event(6)), http.StatusCreated)
	wantProblem(t, w.post(t, eventsPath, event(2, severe)), http.StatusConflict, "event_id")
	wantProblem(t, w.post(t, batchPath, []api.AuditEvent{event(8), event(3, severe)}), http.StatusConflict, "[1].event_id")
	wantProblem(t, w.post(t, notifyPath, note), http.StatusConflict, "notification_id")
	child = event(9, func(e *api.AuditEvent) { e.ParentEventID = event(2).EventID })
	want[api.EventAcknowledgement](t, w.post(t, eventsPath, child), http.StatusCreated)
	child = event(10, func(e *api.AuditEvent) { e.ParentEventID = event(11).EventID }) // which another process may have parked
	wantProblem(t, w.post(t, eventsPath, child), http.StatusServiceUnavailable)
	wantProblem(t, w.post(t, batchPath, []api.AuditEvent{event(12), child}), http.StatusServiceUnavailable)
	wantResults(t, w.post(t, partialPath, []api.AuditEvent{event(12), child}), result{Status: 201}, result{Status: 503})

	t.Log("Both are back, and what is parked keeps its ids until it has moved")
	w.redis.Restart()
	w.awaitConflict(t, event(2, severe))
	want[api.EventAcknowledgement](t, w.post(t, eventsPath, event(2)), http.StatusCreated)
	child = event(7, func(e *api.AuditEvent) { e.ParentEventID = event(3).EventID })
	want[api.EventAcknowledgement](t, w.post(t, eventsPath, child), http.StatusCreated) // the parent is parked

	w.redrive(t)
	w.awaitTotal(t, 9)
	wantProblem(t, w.post(t, eventsPath, event(3, severe)), http.StatusConflict, "event_id")
}

// awaitConflict waits until the overflow answers again, and sends an event that it
// must refuse.
func (w *world) awaitConflict(t *testing.T, e api.AuditEvent) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if parked, err := w.overflow.Parked(t.Context(), []uuid.UUID{e.EventID}); err == nil && len(parked) == 1 {
			break
		}
	}
	// A new handler has not met the dead Redis.
	w.handler = w.serve()
	wantProblem(t, w.post(t, eventsPath, e), http.StatusConflict, "event_id")
}

// awaitTotal waits until so many events are in the trail.
func (w *world) awaitTotal(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		got := w.total(t)
		if got == n {
			return
		}
		if got > n || time.Now().After(deadline) {
			t.Fatalf("%d events are in the trail, want %d", got, n)
		}
		<-time.After(10 * time.Millisecond)
	}
}
