package controller

import (
	"context"
	"errors"
	"testing"
	"time"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// shelf is a catalog of one workflow.
type shelf struct {
	entry datastorage.Workflow
	err   error
	asked int
}

func (s *shelf) WorkflowVersion(context.Context, string, string) (datastorage.Workflow, error) {
	s.asked++
	return s.entry, s.err
}

func TestLibraryAsksAgain(t *testing.T) {
	ref := v1alpha1.WorkflowRef{WorkflowID: "heal", Version: "1.0.0"}
	active := datastorage.Workflow{WorkflowName: "heal", Version: "1.0.0", Status: datastorage.WorkflowStatusActive}
	disabled := active
	disabled.Status = datastorage.WorkflowStatusDisabled
	down := errors.New("connection refused")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	catalog := &shelf{}
	library := &Library{Catalog: catalog, Trust: time.Second, Now: func() time.Time { return now }}

	for _, step := range []struct {
		why     string
		later   time.Duration
		entry   datastorage.Workflow
		err     error
		asked   int // so far
		serves  bool
		problem string
	}{
		{"never seen, and nobody answers", 0, datastorage.Workflow{}, down, 1, false, ""},
		{"nor is that waited for again and again", 500 * time.Millisecond, active, nil, 1, false, ""},
		{"an outage that is over", 500 * time.Millisecond, active, nil, 2, true, ""},
		{"an answer holds for a while", 500 * time.Millisecond, disabled, nil, 2, true, ""},
		{"an outage stops nothing that was seen", time.Second, datastorage.Workflow{}, down, 3, true, ""},
		{"nor is it waited for again and again", 500 * time.Millisecond, datastorage.Workflow{}, down, 3, true, ""},
		{"what was disabled stops", time.Second, disabled, nil, 4, false, "disabled-workflow"},
		{"and is not served in an outage", 2 * time.Second, datastorage.Workflow{}, down, 5, false, ""},
		{"what is enabled again runs", time.Second, active, nil, 6, true, ""},
	} {
		now = now.Add(step.later)
		catalog.entry, catalog.err = step.entry, step.err
		w := library.Resolve(t.Context(), ref)
		rule := ""
		if w.Problem != nil {
			rule = w.Problem.Rule
		}
		if serves := w.Resolved != nil && w.Problem == nil; serves != step.serves || rule != step.problem || catalog.asked != step.asked {
			t.Errorf("%s: serves %v, problem %q, asked %d times; want %v, %q, %d", step.why, serves, rule, catalog.asked, step.serves, step.problem, step.asked)
		}
		if unavailable := w.Unavailable != ""; unavailable != (!step.serves && step.problem == "") {
			t.Errorf("%s: unavailable: %q", step.why, w.Unavailable)
		}
	}
}
