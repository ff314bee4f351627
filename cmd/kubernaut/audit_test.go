package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rogpeppe/go-internal/testscript"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

// TestAudit runs the scripts that read the trail of a real Data Storage, without a
// cluster.
func TestAudit(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	store := newStore(t)
	server := httptest.NewServer(datastorage.New(datastorage.Options{
		Trail: store, Reader: store, Overflow: datastorage.NoOverflow{}, Catalog: store, Gate: datastorage.OpenGate{},
		Now: func() time.Time { return noon }, Log: slog.New(slog.DiscardHandler), Metrics: datastorage.NewMetrics(),
	}).Handler())
	t.Cleanup(server.Close)
	client, err := api.New(server.URL, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []string{
		"whole created", "whole locked", "whole started", "whole completed", "torn created", "torn started", "torn failed",
	} {
		if _, err := client.Record(t.Context(), told(step, noon.Add(time.Duration(i-10)*time.Minute))); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/audit",
		UpdateScripts: update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("SERVER", server.URL)
			e.Setenv("EVENT", told("whole locked", noon).EventID.String())
			e.Setenv("TZ", "UTC")
			return apart(e)
		},
	})
}

// told makes the event of one step: the name of an execution, and a transition.
func told(step string, at time.Time) api.AuditEvent {
	var name, action string
	_, _ = fmt.Sscan(step, &name, &action)
	e := api.AuditEvent{
		EventID: uuid.NewSHA1(uuid.Nil, []byte(step)), Version: "1", EventCategory: "workflowexecution", EventType: "workflowexecution." + action,
		EventAction: action, EventOutcome: api.EventOutcomePending, EventTimestamp: at, CorrelationID: "case-" + name,
		ResourceType: "WorkflowExecution", ResourceID: name + "-uid", ResourceName: name, Namespace: "payment",
		EventData: json.RawMessage(`{"workflow":{"workflow_id":"heal","version":"1.0.0"},"target":"payment/deployment.apps/api"}`),
	}
	took := int64(42_000)
	switch action {
	case "completed":
		e.EventOutcome, e.DurationMS = api.EventOutcomeSuccess, &took
	case "failed":
		e.EventOutcome, e.DurationMS, e.ErrorCode = api.EventOutcomeFailure, &took, "OOMKilled"
	}
	return e
}
