// Package completeness says whether the audit trail of an execution is whole.
//
//	events, as any client reads them ──► Of ──► expected, present, gaps
//
// It is the outsider's view: it shares the names of the transitions with whoever
// writes them, and no code. What must be there follows from what is there; whoever
// knows more, such as the object itself, says so by further transitions.
package completeness

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// The category and the transitions of an execution, as its events name them.
const (
	Category  = "workflowexecution"
	Created   = "created"
	Locked    = "locked"
	Started   = "started"
	Completed = "completed"
	Failed    = "failed"
	Skipped   = "skipped"
	Cancelled = "cancelled"
)

// order is the one in which transitions happen; of the endings there is one.
var order = []string{Created, Locked, Started, Completed, Failed, Skipped, Cancelled}

// IsEnding says whether an execution ends with this transition.
func IsEnding(action string) bool {
	return action == Completed || action == Failed || action == Skipped || action == Cancelled
}

// implications are what one transition says about others.
var implications = []struct {
	from    func(event) bool
	action  string
	because string
}{
	{func(event) bool { return true }, Created, "every execution is created"},
	{after(Started), Locked, "a run is started only by who holds its target"},
	{after(Completed), Started, "only a run can complete"},
	{codeStarted, Started, "user code has started"},
}

func after(action string) func(event) bool {
	return func(e event) bool { return e.EventAction == action }
}

func codeStarted(e event) bool { return e.data.Failure.UserCodeStarted }

// event is an event with what is read of its data.
type event struct {
	datastorage.StoredEvent
	data struct {
		Failure struct {
			UserCodeStarted bool `json:"user_code_started"`
		} `json:"failure"`
		PrecededBy []string `json:"preceded_by"`
	}
}

// Of judges the trail of one execution. The events are those whose resource_id is its
// UID; others are left out. known are transitions that somebody knows of otherwise.
func Of(execution string, events []datastorage.StoredEvent, known ...datastorage.Transition) datastorage.Completeness {
	j := &judgement{answer: datastorage.Completeness{
		ExecutionID: execution, Expected: []datastorage.Transition{}, Present: []datastorage.PresentTransition{},
		Gaps: []datastorage.Transition{}, Problems: []string{},
	}}
	j.take(events)
	for _, t := range known {
		j.expect(t.Action, t.Because)
	}
	j.derive()
	j.contradictions()
	return j.conclude()
}

type judgement struct {
	answer datastorage.Completeness
	events []event // in the order in which they happened
}

func (j *judgement) take(events []datastorage.StoredEvent) {
	for _, s := range events {
		if s.EventCategory != Category || s.ResourceID != j.answer.ExecutionID {
			continue
		}
		e := event{StoredEvent: s}
		if err := json.Unmarshal(s.EventData, &e.data); err != nil {
			j.object("the data of %s cannot be read: %v", s.EventAction, err)
		}
		j.events = append(j.events, e)
	}
	slices.SortStableFunc(j.events, func(a, b event) int { return a.EventTimestamp.Compare(b.EventTimestamp) })
	for _, e := range j.events {
		j.answer.Namespace, j.answer.Name, j.answer.CorrelationID = e.Namespace, e.ResourceName, e.CorrelationID
		j.answer.Present = append(j.answer.Present, datastorage.PresentTransition{
			Action: e.EventAction, EventID: e.EventID, EventTimestamp: e.EventTimestamp, Digest: e.Digest,
		})
	}
}

func (j *judgement) expect(action, because string) {
	if !slices.ContainsFunc(j.answer.Expected, func(t datastorage.Transition) bool { return t.Action == action }) {
		j.answer.Expected = append(j.answer.Expected, datastorage.Transition{Action: action, Because: because})
	}
}

// derive expects what the events say, and what that says.
func (j *judgement) derive() {
	for _, e := range j.events {
		j.expect(e.EventAction, "it is there")
		for _, action := range e.data.PrecededBy {
			j.expect(action, "the "+e.EventAction+" event says that it came before")
		}
		for _, i := range implications {
			if i.from(e) {
				j.expect(i.action, i.because)
			}
		}
	}
	for i := 0; i < len(j.answer.Expected); i++ { // grows while it is read
		of := event{StoredEvent: datastorage.StoredEvent{EventAction: j.answer.Expected[i].Action}}
		for _, implied := range implications {
			if implied.from(of) {
				j.expect(implied.action, implied.because)
			}
		}
	}
	slices.SortStableFunc(j.answer.Expected, func(a, b datastorage.Transition) int {
		return slices.Index(order, a.Action) - slices.Index(order, b.Action)
	})
}

// contradictions are events that cannot stand beside one another.
func (j *judgement) contradictions() {
	seen := map[string]uuid.UUID{}
	ending, latest, at := "", -1, time.Time{}
	for _, e := range j.events {
		place := slices.Index(order, e.EventAction)
		switch other, twice := seen[e.EventAction]; {
		case place < 0:
			j.object("%s is no transition of an execution (event %s)", e.EventAction, e.EventID)
			continue
		case twice:
			j.object("%s is there twice, as event %s and as %s", e.EventAction, other, e.EventID)
		case IsEnding(e.EventAction) && ending != "":
			j.object("it ended twice: %s, and %s", ending, e.EventAction)
		case place < latest:
			j.object("%s stands at %s, after %s at %s", e.EventAction, stamp(e.EventTimestamp), order[latest], stamp(at))
		}
		seen[e.EventAction] = e.EventID
		if latest, at = max(latest, place), e.EventTimestamp; IsEnding(e.EventAction) {
			ending = e.EventAction
		}
	}
	if _, started := seen[Started]; started && ending == Skipped {
		j.object("it was skipped, and yet it was started")
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func (j *judgement) object(format string, args ...any) {
	j.answer.Problems = append(j.answer.Problems, fmt.Sprintf(format, args...))
}

// conclude names the gaps and says in a word how it stands.
func (j *judgement) conclude() datastorage.Completeness {
	ended := false
	for _, want := range j.answer.Expected {
		ended = ended || IsEnding(want.Action)
		present := func(p datastorage.PresentTransition) bool { return p.Action == want.Action }
		if !slices.ContainsFunc(j.answer.Present, present) {
			j.answer.Gaps = append(j.answer.Gaps, want)
		}
	}
	switch {
	case len(j.answer.Gaps) > 0 || len(j.answer.Problems) > 0:
		j.answer.State = datastorage.CompletenessStateBroken
	case ended:
		j.answer.State = datastorage.CompletenessStateComplete
	default:
		j.answer.State = datastorage.CompletenessStateOpen
	}
	return j.answer
}
