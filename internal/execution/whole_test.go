package execution_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/completeness"
	"kubernaut.ai/kubernaut/internal/execution"
)

// TestTrailsOfAllStoriesAreWhole gives the trails of all transcripts to the verifier,
// which shares nothing with this package but names: each is whole, and the loss of
// any one event of an ended execution shows, but for that of the ending itself.
func TestTrailsOfAllStoriesAreWhole(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	ended := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, ex := range played(t, string(raw)) {
			if judged(t, filepath.Base(file), ex) {
				ended++
			}
		}
	}
	if ended < 30 {
		t.Errorf("only %d executions ended in the transcripts", ended)
	}
}

// played is the executions that are there when a story has been told.
func played(t *testing.T, script string) []*v1alpha1.WorkflowExecution {
	t.Helper()
	m := newModel()
	for line := range strings.Lines(script) {
		what, ok := strings.CutPrefix(line, ">")
		if !ok {
			continue
		}
		words := strings.Fields(what)
		at, err := time.ParseDuration(words[0])
		if err != nil {
			t.Fatal(err)
		}
		m.now = epoch.Add(at)
		if err := m.happen(words[1], words[2:]); err != nil {
			t.Fatal(err)
		}
		m.settle(t)
	}
	return m.executions
}

// judged says whether an execution has ended.
func judged(t *testing.T, story string, ex *v1alpha1.WorkflowExecution) bool {
	t.Helper()
	events, err := execution.Trail(ex)
	if err != nil {
		t.Fatal(err)
	}
	stored := make([]datastorage.StoredEvent, len(events))
	for i, e := range events {
		stored[i] = datastorage.StoredEvent{
			EventID: e.EventID, EventTimestamp: e.EventTimestamp, EventCategory: e.EventCategory, EventAction: e.EventAction,
			ResourceID: e.ResourceID, ResourceName: e.ResourceName, EventData: e.EventData,
		}
	}
	want := datastorage.CompletenessStateOpen
	if execution.Ended(ex) {
		want = datastorage.CompletenessStateComplete
	}
	if got := completeness.Of(string(ex.UID), stored); got.State != want {
		t.Errorf("%s: the trail of %s is %s, want %s: gaps %v, problems %v", story, ex.Name, got.State, want, got.Gaps, got.Problems)
	}
	if !execution.Ended(ex) {
		return false
	}
	for i := range stored[:len(stored)-1] {
		less := append(append([]datastorage.StoredEvent{}, stored[:i]...), stored[i+1:]...)
		if got := completeness.Of(string(ex.UID), less); got.State != datastorage.CompletenessStateBroken {
			t.Errorf("%s: the trail of %s without its event %s is %s", story, ex.Name, stored[i].EventAction, got.State)
		}
	}
	return true
}
