package datastorage_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// TestAllWorkflowsGoesOnBehindAPageThatEndedEarly: how many there are on a page says
// nothing; whether there are more is what the service says.
func TestAllWorkflowsGoesOnBehindAPageThatEndedEarly(t *testing.T) {
	pages := map[int][]string{0: {"a", "b"}, 2: {"c"}, 3: {"d", "e"}}
	c := serving(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		offset, _ := strconv.Atoi(r.URL.Query().Get("offset")) // absent: 0
		var page datastorage.WorkflowPage
		for _, name := range pages[offset] {
			page.Workflows = append(page.Workflows, datastorage.Workflow{WorkflowName: name})
		}
		page.Pagination.HasMore = offset < 3
		_ = json.NewEncoder(w).Encode(page)
	})
	var got []string
	for w, err := range c.AllWorkflows(t.Context(), datastorage.ListWorkflowsParams{Limit: 1000}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, w.WorkflowName)
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "d", "e"}, got); diff != "" {
		t.Errorf("workflows (-want +got):\n%s", diff)
	}
}

// TestAllWorkflowsEndsWithAnEmptyPage: a service that says there are more and has none is
// not asked for ever.
func TestAllWorkflowsEndsWithAnEmptyPage(t *testing.T) {
	asked := 0
	c := serving(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = fmt.Fprint(w, `{"workflows":[],"pagination":{"has_more":true}}`)
	})
	for w, err := range c.AllWorkflows(t.Context(), datastorage.ListWorkflowsParams{}) {
		t.Errorf("%+v, %v", w, err)
	}
	if asked != 1 {
		t.Errorf("it was asked %d times", asked)
	}
}
