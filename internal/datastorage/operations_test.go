package datastorage_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

func operations(t *testing.T, w *world) {
	for _, path := range []string{"/health", "/health/live", "/health/ready"} {
		if got := want[api.Health](t, w.get(t, path), http.StatusOK); got.Status != api.HealthStatusOk {
			t.Errorf("%s says %q", path, got.Status)
		}
	}
	ill := w.serve(func(o *datastorage.Options) { o.Health = healthy(false) })
	for path, status := range map[string]int{"/health": 503, "/health/ready": 503, "/health/live": 200} {
		if res := w.send(t, ill, request{method: "GET", path: path}); res.status != status {
			t.Errorf("%s of a service that is not ready: %d, want %d", path, res.status, status)
		}
	}
	want[api.EventAcknowledgement](t, w.post(t, eventsPath, event(1)), http.StatusCreated)
	unnamed := event(2, func(e *api.AuditEvent) { e.EventType = "" })
	wantProblem(t, w.wrong(t, eventsPath, unnamed), http.StatusBadRequest, "event_type")
	wantProblem(t, w.wrong(t, batchPath, []api.AuditEvent{event(3), unnamed}), http.StatusBadRequest, "[1].event_type")
	metrics := string(w.get(t, "/metrics").body)
	for _, line := range []string{
		`datastorage_audit_events_total{outcome="stored"} 1`,
		`datastorage_audit_events_total{outcome="refused"} 3`,
		`datastorage_request_duration_seconds_count{route="POST /api/v1/audit/events",status="201"} 1`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics do not have %s", line)
		}
	}
	if got := w.get(t, "/openapi.yaml").body; string(got) != string(api.OpenAPI) {
		t.Error("/openapi.yaml is not the contract")
	}
	if got := w.get(t, "/workflow.schema.json").body; string(got) != string(api.WorkflowSchema) {
		t.Error("/workflow.schema.json is not the schema of workflow.yaml")
	}
	strangers(t, w)
}

// strangers ask for what is not in the contract.
func strangers(t *testing.T, w *world) {
	t.Helper()
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 404},
		{"GET", "/api/v1/audit/events/", 404},
		{"DELETE", eventsPath, 405},
		{"PUT", workflowsPath + "/5", 405},
	} {
		res := perform(w.handler, request{method: c.method, path: c.path}.build(t))
		wantProblem(t, res, c.status)
		if allow := res.header.Get("Allow"); (c.status == 405) != (allow != "") {
			t.Errorf("%s %s: Allow is %q", c.method, c.path, allow)
		}
	}
}

// tokens is a gate that knows callers by their tokens.
type tokens map[string]tokenOf

type tokenOf struct {
	caller datastorage.Caller
	may    []datastorage.Access
}

func (g tokens) Identify(_ context.Context, token string) (datastorage.Caller, error) {
	if of, ok := g[token]; ok {
		return of.caller, nil
	}
	return datastorage.Caller{}, datastorage.ErrUnauthenticated
}

func (g tokens) Allows(_ context.Context, c datastorage.Caller, a datastorage.Access) (bool, error) {
	for _, of := range g {
		for _, right := range of.may {
			if of.caller.ID == c.ID && right == a {
				return true, nil
			}
		}
	}
	return false, nil
}

func callers(t *testing.T, w *world) {
	gate := tokens{
		"writer": {datastorage.Caller{Type: "serviceaccount", ID: "system:serviceaccount:ns:writer"}, []datastorage.Access{
			{Verb: "create", Resource: "auditevents"}, {Verb: "get", Resource: "auditevents"},
		}},
		"historian": {datastorage.Caller{Type: "user", ID: "historian"}, []datastorage.Access{
			{Verb: "create", Resource: "auditevents"}, {Verb: "backdate", Resource: "auditevents"},
		}},
		"stranger": {datastorage.Caller{Type: "user", ID: "stranger"}, nil},
	}
	handler := w.serve(func(o *datastorage.Options) { o.Gate = gate })
	send := func(token, method, path string, body any) response {
		header := map[string]string{
			"X-Remote-User": "admin", "X-Forwarded-User": "admin", "Impersonate-User": "admin", // forged, ignored
		}
		if token != "" {
			header["Authorization"] = "Bearer " + token
		}
		return w.send(t, handler, request{method: method, path: path, body: body, header: header})
	}
	forged := event(1, func(e *api.AuditEvent) { e.ActorType, e.ActorID = "user", "admin" })
	wantProblem(t, send("", "POST", eventsPath, forged), http.StatusUnauthorized)
	wantProblem(t, send("expired", "POST", eventsPath, forged), http.StatusUnauthorized)
	wantProblem(t, send("stranger", "POST", eventsPath, forged), http.StatusForbidden)
	wantProblem(t, send("writer", "GET", workflowsPath, nil), http.StatusForbidden)
	wantProblem(t, send("historian", "GET", eventsPath, nil), http.StatusForbidden)
	want[api.EventAcknowledgement](t, send("writer", "POST", eventsPath, forged), http.StatusCreated)
	page := want[api.EventPage](t, send("writer", "GET", eventsPath, nil), http.StatusOK)
	if got := page.Data[0]; got.ActorID != "system:serviceaccount:ns:writer" || got.ActorType != "serviceaccount" {
		t.Errorf("the actor is %s %q, want who the token says", got.ActorType, got.ActorID)
	}

	old := event(2, func(e *api.AuditEvent) { e.EventTimestamp = noon.Add(-30 * 24 * time.Hour) })
	wantProblem(t, send("writer", "POST", eventsPath, old), http.StatusBadRequest, "event_timestamp")
	want[api.EventAcknowledgement](t, send("historian", "POST", eventsPath, old), http.StatusCreated)

	var log bytes.Buffer
	handler = w.serve(func(o *datastorage.Options) {
		o.Gate, o.Limits = gate, datastorage.Limits{RequestsPerSecond: 0.1, Burst: 1}
		o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	want[api.EventPage](t, send("writer", "GET", eventsPath, nil), http.StatusOK)
	slow := send("writer", "GET", eventsPath, nil)
	wantProblem(t, slow, http.StatusTooManyRequests)
	if slow.header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	if !strings.Contains(log.String(), "caller=system:serviceaccount:ns:writer") {
		t.Errorf("the log does not say who was throttled: %s", &log)
	}
	want[api.EventAcknowledgement](t, send("historian", "POST", eventsPath, event(3)), http.StatusCreated) // another caller is not slowed
}
