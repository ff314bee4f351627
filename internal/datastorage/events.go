package datastorage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
)

// acknowledgements says each outcome in the words of the contract.
var acknowledgements = map[Outcome]struct {
	status  int
	message string
}{
	Stored: {http.StatusCreated, "stored"},
	Known:  {http.StatusOK, "already stored"},
	Parked: {http.StatusAccepted, "parked: the database is away, and the event moves there when it is back"},
}

// CreateAuditEvent records one event.
func (s *Server) CreateAuditEvent(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, Access{"create", auditEvents}, func(ctx context.Context, who Caller) (answer, error) {
		var e api.AuditEvent
		if err := s.readJSON(w, r, &e); err != nil {
			return answer{}, err
		}
		sealed, outcome, err := s.record(ctx, who, []api.AuditEvent{e}, func(int) string { return "" })
		if err != nil {
			return answer{}, err
		}
		a := acknowledgements[outcome]
		return answer{a.status, api.EventAcknowledgement{
			EventID: sealed[0].Event.EventID, EventTimestamp: sealed[0].Event.EventTimestamp, Message: a.message,
		}}, nil
	})
}

// CreateAuditEvents records several events, all or none unless partial is asked for.
func (s *Server) CreateAuditEvents(w http.ResponseWriter, r *http.Request, p api.CreateAuditEventsParams) {
	s.serve(w, r, Access{"create", auditEvents}, func(ctx context.Context, who Caller) (answer, error) {
		if err := checkQuery(r.URL.Query(), p); err != nil {
			return answer{}, err
		}
		if p.Partial {
			return s.createEach(ctx, w, r, who)
		}
		var events []api.AuditEvent
		if err := s.readJSON(w, r, &events); err != nil {
			return answer{}, err
		}
		if err := s.checkSize(len(events)); err != nil {
			return answer{}, err
		}
		sealed, outcome, err := s.record(ctx, who, events, func(i int) string { return fmt.Sprintf("[%d].", i) })
		if err != nil {
			return answer{}, err
		}
		a := acknowledgements[outcome]
		body := api.BatchAcknowledgement{Message: a.message, EventIDs: make([]uuid.UUID, len(sealed))}
		for i := range sealed {
			body.EventIDs[i] = sealed[i].Event.EventID
		}
		return answer{a.status, body}, nil
	})
}

// checkSize says why a batch of so many events is not taken, or nil.
func (s *Server) checkSize(events int) error {
	if events == 0 {
		return invalid("send at least one event", api.FieldProblem{Field: "body", Message: "must be an array with at least one event"})
	}
	if events > s.limits.BatchEvents {
		return s.tooLarge(fmt.Sprintf("%d events are more than one batch may have, which is %d; send several", events, s.limits.BatchEvents))
	}
	return nil
}

// record checks events and makes them safe. prefix is what stands before the name
// of a field of the i-th.
func (s *Server) record(ctx context.Context, who Caller, events []api.AuditEvent, prefix func(i int) string) ([]audit.Sealed, Outcome, error) {
	window, err := s.window(ctx, who, events)
	if err != nil {
		return nil, 0, err
	}
	sealed, err := sealAll(events, who, window, prefix)
	if err != nil {
		s.metrics.refused(len(events))
		return nil, 0, err
	}
	kept, err := s.recorder.record(ctx, sealed)
	if err != nil {
		s.metrics.refused(len(events))
		return nil, 0, aboutFields(err, sealed, prefix)
	}
	for i := range sealed {
		s.metrics.recorded(kept.of(i), 1)
	}
	return sealed, kept.Outcome, nil
}

// window is the span of times that the events of a caller may bear. The right to
// backdate is asked about only when it is needed.
func (s *Server) window(ctx context.Context, who Caller, events []api.AuditEvent) (audit.Window, error) {
	window := audit.Window{Now: s.now()}
	if !tooOld(events, window) {
		return window, nil
	}
	allowed, err := s.gate.Allows(ctx, who, Access{"backdate", auditEvents})
	window.Backdate = allowed
	return window, err
}

func tooOld(events []api.AuditEvent, w audit.Window) bool {
	for i := range events {
		if events[i].EventTimestamp.Before(w.Now.Add(-audit.MaxBack)) {
			return true
		}
	}
	return false
}

// sealAll checks events and fixes their content. The error names every field that
// is wrong.
func sealAll(events []api.AuditEvent, who Caller, window audit.Window, prefix func(i int) string) ([]audit.Sealed, error) {
	var found []api.FieldProblem
	sealed := make([]audit.Sealed, len(events))
	used := make(map[uuid.UUID]int, len(events))
	for i := range events {
		var problems []api.FieldProblem
		sealed[i], problems = sealOne(&events[i], who, window)
		problems = append(problems, twice(used, sealed[i].Event.EventID, i)...)
		for _, p := range problems {
			found = append(found, api.FieldProblem{Field: prefix(i) + p.Field, Message: p.Message})
		}
	}
	if len(found) > 0 {
		return nil, invalid("nothing was kept; correct the fields named and send it again", found[:min(len(found), maxFields)]...)
	}
	return sealed, nil
}

// sealOne checks one event and fixes its content, or says what is wrong with it.
func sealOne(e *api.AuditEvent, who Caller, window audit.Window) (audit.Sealed, []api.FieldProblem) {
	if e.EventID == uuid.Nil {
		e.EventID = uuid.New()
	}
	if who.ID != "" {
		e.ActorType, e.ActorID = who.Type, who.ID
	}
	problems := audit.Check(e, window)
	sealed, err := audit.Seal(*e)
	if err != nil {
		sealed.Event.EventID = e.EventID
		problems = append(problems, fieldProblem(err))
	}
	sealed.ReceivedAt = window.Now.UTC().Truncate(time.Microsecond)
	return sealed, problems
}

// twice objects to an id that another event of the batch has.
func twice(used map[uuid.UUID]int, id uuid.UUID, i int) []api.FieldProblem {
	if other, twice := used[id]; twice {
		return []api.FieldProblem{{Field: "event_id", Message: fmt.Sprintf("is also that of event [%d]", other)}}
	}
	used[id] = i
	return nil
}

// maxFields is how many problems one answer names.
const maxFields = 100

func fieldProblem(err error) api.FieldProblem {
	if f, ok := errors.AsType[*audit.FieldError](err); ok {
		return api.FieldProblem{Field: f.Field, Message: f.Message}
	}
	return api.FieldProblem{Field: "event_data", Message: "cannot be read"}
}

// aboutFields turns errors that name ids into answers that name fields.
func aboutFields(err error, sealed []audit.Sealed, prefix func(i int) string) error {
	if conflict, ok := errors.AsType[*ConflictError](err); ok {
		return &problem{
			status: http.StatusConflict, kind: "conflict", cause: err,
			detail: "an event id names one event for ever, and this one names another; nothing was kept; send a new event with a new id",
			fields: fieldsOf(conflict.IDs, sealed, func(i int) (uuid.UUID, api.FieldProblem) {
				return sealed[i].Event.EventID, api.FieldProblem{Field: prefix(i) + "event_id", Message: "names an event with other content"}
			}),
		}
	}
	if parents, ok := errors.AsType[*ParentError](err); ok && parents.Doubt == nil {
		return invalid("nothing was kept; record the parent first", fieldsOf(parents.IDs, sealed, func(i int) (uuid.UUID, api.FieldProblem) {
			return sealed[i].Event.ParentEventID, api.FieldProblem{Field: prefix(i) + "parent_event_id", Message: "names no event"}
		})...)
	}
	return err
}

// fieldsOf names a field of each event for which of returns one of the ids.
func fieldsOf(ids []uuid.UUID, sealed []audit.Sealed, of func(i int) (uuid.UUID, api.FieldProblem)) []api.FieldProblem {
	wanted := map[uuid.UUID]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	var fields []api.FieldProblem
	for i := range sealed {
		if id, field := of(i); wanted[id] && len(fields) < maxFields {
			fields = append(fields, field)
		}
	}
	return fields
}
