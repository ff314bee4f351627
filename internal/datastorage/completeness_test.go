package datastorage_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/completeness"
)

// completenessOfTooMany: who has not looked at all events of an execution says so.
func completenessOfTooMany(t *testing.T, w *world) {
	var events []api.AuditEvent
	for n := range 60 {
		events = append(events, event(n, func(e *api.AuditEvent) {
			e.EventCategory, e.EventAction, e.ResourceID = completeness.Category, fmt.Sprint("step-", n), "many"
			e.EventData = fmt.Appendf(nil, `{"big":"%0102400d"}`, n)
		}))
	}
	want[api.BatchAcknowledgement](t, w.post(t, batchPath, events), http.StatusCreated)
	verdict := want[api.Completeness](t, w.get(t, "/api/v1/audit/executions/many/completeness"), http.StatusOK)
	if verdict.State != api.CompletenessStateBroken || !strings.Contains(strings.Join(verdict.Problems, "\n"), "more events than") {
		t.Errorf("%s: %v", verdict.State, verdict.Problems)
	}
}
