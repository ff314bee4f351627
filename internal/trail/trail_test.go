package trail

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
)

func TestTableTellsWhatHappened(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.Local)
	took := int64(11_020)
	event := func(action string, outcome datastorage.EventOutcome, data string) datastorage.StoredEvent {
		return datastorage.StoredEvent{
			EventTimestamp: at, EventType: "workflowexecution." + action, EventAction: action, EventOutcome: outcome,
			Namespace: "payment", ResourceName: "a", EventData: json.RawMessage(data),
		}
	}
	failed := event("failed", "failure", `{"target": "payment/deployment.apps/api"}`)
	failed.ErrorCode, failed.DurationMS = "TaskFailed", &took
	foreign := event("noted", "success", `{"target": {"of": "another client"}}`)
	var out strings.Builder
	err := Table([]datastorage.StoredEvent{
		event("created", "pending", `{"target_resource": "payment/deployment/api", "workflow": {"workflow_id": "w", "version": "1.0.0"}}`),
		event("locked", "pending", `{"target": "payment/deployment.apps/api"}`),
		event("started", "pending", `{"run": {"name": "a-1"}, "target": "payment/deployment.apps/api"}`),
		event("skipped", "failure", `{"skip": {"reason": "ResourceBusy"}}`),
		failed, foreign,
	}, false, false).Write(&out)
	if err != nil {
		t.Fatal(err)
	}
	want := `TIME                      EVENT                       OUTCOME   RESOURCE    DETAIL
2026-01-02 03:04:05.678   workflowexecution.created   pending   payment/a   w@1.0.0 on payment/deployment/api
2026-01-02 03:04:05.678   workflowexecution.locked    pending   payment/a   payment/deployment.apps/api
2026-01-02 03:04:05.678   workflowexecution.started   pending   payment/a   run a-1
2026-01-02 03:04:05.678   workflowexecution.skipped   failure   payment/a   ResourceBusy
2026-01-02 03:04:05.678   workflowexecution.failed    failure   payment/a   TaskFailed, 11s
2026-01-02 03:04:05.678   workflowexecution.noted     success   payment/a   -
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
