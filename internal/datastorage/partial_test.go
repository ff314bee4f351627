package datastorage_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

const partialPath = batchPath + "?partial=true"

// result is what a test wants of one event: its status and the fields named.
type result struct {
	Status int
	Fields []string
}

func wantResults(t *testing.T, res response, wanted ...result) {
	t.Helper()
	var got []result
	for _, r := range want[api.BatchResults](t, res, http.StatusMultiStatus).Results {
		one := result{Status: r.Status}
		for _, f := range r.Errors {
			one.Fields = append(one.Fields, f.Field)
		}
		if r.Message == "" {
			t.Errorf("a result says nothing: %+v", r)
		}
		got = append(got, one)
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

func partialBatch(t *testing.T, w *world) {
	want[api.EventAcknowledgement](t, w.post(t, eventsPath, event(9)), http.StatusCreated)
	child := func(n, parent int) api.AuditEvent {
		return event(n, func(e *api.AuditEvent) { e.ParentEventID = event(parent).EventID })
	}
	bad := event(2, func(e *api.AuditEvent) { e.EventCategory = "Not so" })
	batch := []any{
		event(1), bad, child(3, 100), event(9, severe), map[string]any{"version": 5}, event(9), child(4, 1), child(5, 2), child(6, 3), event(1),
	}
	wrong := []result{
		{400, []string{"event_category"}}, {400, []string{"parent_event_id"}}, {409, []string{"event_id"}}, {400, []string{"version"}},
	}
	for _, status := range []int{http.StatusCreated, http.StatusOK} {
		wantResults(t, w.wrong(t, partialPath, batch), result{Status: status}, wrong[0], wrong[1], wrong[2], wrong[3],
			result{400, []string{"event_id"}}, result{Status: status}, wrong[1], wrong[1], result{400, []string{"event_id"}})
	}
	if got := w.total(t); got != 3 {
		t.Errorf("%d events are kept, want 1, 4 and 9", got)
	}
	wantProblem(t, w.wrong(t, partialPath, []api.AuditEvent{}), http.StatusBadRequest, "body")
	wantProblem(t, w.wrong(t, partialPath, `[{},`), http.StatusBadRequest, "body")
	wantProblem(t, w.wrong(t, batchPath+"?partial=perhaps", batch), http.StatusBadRequest, "partial")
	wantProblem(t, w.wrong(t, batchPath+"?partail=true", batch), http.StatusBadRequest, "partail")
}
