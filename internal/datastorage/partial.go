package datastorage

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
)

// one is an event of a batch that is taken for itself.
type one struct {
	sealed audit.Sealed
	result *api.EventResult
}

// createEach records the events of a batch, each for itself.
func (s *Server) createEach(ctx context.Context, w http.ResponseWriter, r *http.Request, who Caller) (answer, error) {
	var raw []jsontext.Value
	if err := s.readJSON(w, r, &raw); err != nil {
		return answer{}, err
	}
	if err := s.checkSize(len(raw)); err != nil {
		return answer{}, err
	}
	results := make([]api.EventResult, len(raw))
	events, err := s.checkEach(ctx, who, raw, results)
	if err != nil {
		return answer{}, err
	}
	err = s.settle(ctx, events)
	if err != nil && !slices.ContainsFunc(results, func(r api.EventResult) bool { return r.Status < 300 }) {
		return answer{}, err // nothing is known to be kept
	}
	return answer{http.StatusMultiStatus, api.BatchResults{Results: results}}, nil
}

// checkEach reads and checks events. It writes the results of those that are wrong,
// and returns the others.
func (s *Server) checkEach(ctx context.Context, who Caller, raw []jsontext.Value, results []api.EventResult) ([]one, error) {
	events := make([]api.AuditEvent, len(raw))
	for i := range raw {
		if err := json.Unmarshal(raw[i], &events[i], strictly); err != nil {
			results[i] = resultOf(uuid.Nil, unreadable(err))
		}
	}
	window, err := s.window(ctx, who, events)
	if err != nil {
		return nil, err
	}
	var fit []one
	used := map[uuid.UUID]int{}
	for i := range events {
		if results[i].Status != 0 {
			continue
		}
		sealed, problems := sealOne(&events[i], who, window)
		results[i].EventID = sealed.Event.EventID
		if problems = append(problems, twice(used, sealed.Event.EventID, i)...); len(problems) > 0 {
			results[i] = resultOf(sealed.Event.EventID, invalid("not kept; correct the fields named and send it again", problems...))
			continue
		}
		fit = append(fit, one{sealed, &results[i]})
	}
	s.metrics.refused(len(events) - len(fit))
	return fit, nil
}

// settle records events in as few transactions as it can, and writes the result of
// each. The error is the last one that is not due to an event.
func (s *Server) settle(ctx context.Context, events []one) error {
	for len(events) > 0 {
		kept, err := s.recorder.record(ctx, sealedOf(events))
		if err == nil {
			s.acknowledge(events, kept)
			return nil
		}
		wrong, rest := without(events, err)
		if len(wrong) == 0 && errors.Is(err, ErrUnfit) && len(events) > 1 {
			half := len(events) / 2
			return errors.Join(s.settle(ctx, events[:half]), s.settle(ctx, events[half:]))
		}
		if len(wrong) == 0 {
			s.refuseEach(events, err)
			return err
		}
		s.refuseEach(wrong, err)
		events = rest
	}
	return nil
}

// acknowledge writes the results of events that are safe.
func (s *Server) acknowledge(events []one, kept Kept) {
	for i, e := range events {
		outcome := kept.of(i)
		s.metrics.recorded(outcome, 1)
		e.result.Status, e.result.Message = acknowledgements[outcome].status, acknowledgements[outcome].message
	}
}

// refuseEach writes the results of events that were not kept.
func (s *Server) refuseEach(events []one, err error) {
	s.metrics.refused(len(events))
	for _, e := range events {
		about := aboutFields(err, []audit.Sealed{e.sealed}, func(int) string { return "" })
		*e.result = resultOf(e.sealed.Event.EventID, problemOf(about))
	}
}

// without parts the events that an error names from the others.
func without(events []one, err error) (wrong, rest []one) {
	named := map[uuid.UUID]bool{}
	conflict, conflicting := errors.AsType[*ConflictError](err)
	if conflicting {
		for _, id := range conflict.IDs {
			named[id] = true
		}
	}
	parents, orphaned := errors.AsType[*ParentError](err)
	if orphaned {
		for _, id := range parents.IDs {
			named[id] = true
		}
	}
	for _, e := range events {
		if conflicting && named[e.sealed.Event.EventID] || orphaned && named[e.sealed.Event.ParentEventID] {
			wrong = append(wrong, e)
		} else {
			rest = append(rest, e)
		}
	}
	return wrong, rest
}

func resultOf(id uuid.UUID, p *problem) api.EventResult {
	return api.EventResult{EventID: id, Status: p.status, Message: p.detail, Errors: p.fields}
}

func sealedOf(events []one) []audit.Sealed {
	all := make([]audit.Sealed, len(events))
	for i, e := range events {
		all[i] = e.sealed
	}
	return all
}
