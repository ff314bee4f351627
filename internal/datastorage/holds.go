package datastorage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// maxCorrelation is the length of a correlation id, here as in an event.
const maxCorrelation = 255

// ListHolds lists legal holds.
func (s *Server) ListHolds(w http.ResponseWriter, r *http.Request, p api.ListHoldsParams) {
	s.serve(w, r, Access{"hold", auditEvents}, func(ctx context.Context, _ Caller) (answer, error) {
		if err := checkQuery(r.URL.Query(), p); err != nil {
			return answer{}, err
		}
		holds, err := s.holds.ListHolds(ctx, p.CorrelationID, p.Released)
		return answer{http.StatusOK, api.HoldList{Holds: list(holds)}}, err
	})
}

// otherHold is the answer to a hold_id that is used.
var otherHold = &problem{
	status: http.StatusConflict, kind: "conflict",
	detail: "a hold id names one hold for ever, and this one names another; nothing was kept; send a new hold with a new id",
	fields: []api.FieldProblem{{Field: "hold_id", Message: "names another hold"}},
}

// PlaceHold holds all events of a case. Where that is done but not yet audited, doing
// it again makes up for it.
func (s *Server) PlaceHold(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, Access{"hold", auditEvents}, func(ctx context.Context, who Caller) (answer, error) {
		var body api.HoldRequest
		if err := s.readJSON(w, r, &body); err != nil {
			return answer{}, err
		}
		if err := checkText("correlation_id", body.CorrelationID, maxCorrelation); err != nil {
			return answer{}, err
		}
		if err := checkText("reason", body.Reason, maxReason); err != nil {
			return answer{}, err
		}
		if body.HoldID == uuid.Nil {
			body.HoldID = uuid.New()
		}
		hold, placed, err := s.holds.PlaceHold(ctx, api.Hold{
			HoldID: body.HoldID, CorrelationID: body.CorrelationID, Reason: body.Reason, PlacedBy: who.ID,
		})
		if errors.Is(err, ErrExists) {
			return answer{}, otherHold
		}
		if err != nil {
			return answer{}, err
		}
		status := http.StatusOK
		if placed {
			status = http.StatusCreated
		}
		return answer{status, hold}, s.note(ctx, who, note{
			subject: hold.HoldID, action: "hold.placed", correlation: hold.CorrelationID, at: hold.PlacedAt,
			data: map[string]any{"hold_id": hold.HoldID, "reason": hold.Reason},
		})
	})
}

// ReleaseHold releases one hold. Where that is done but not yet audited, doing it
// again makes up for it.
func (s *Server) ReleaseHold(w http.ResponseWriter, r *http.Request, id uuid.UUID) {
	s.serve(w, r, Access{"hold", auditEvents}, func(ctx context.Context, who Caller) (answer, error) {
		var body api.HoldRelease
		if err := s.readJSON(w, r, &body); err != nil {
			return answer{}, err
		}
		if err := checkText("reason", body.Reason, maxReason); err != nil {
			return answer{}, err
		}
		hold, err := s.holds.ReleaseHold(ctx, id, body.Reason, who.ID)
		if err != nil {
			return answer{}, err
		}
		return answer{http.StatusOK, hold}, s.note(ctx, who, note{
			subject: hold.HoldID, action: "hold.released", correlation: hold.CorrelationID, at: hold.ReleasedAt,
			data: map[string]any{"hold_id": hold.HoldID, "reason": hold.ReleaseReason},
		})
	})
}

// objectionToText says what speaks against a text that must be there, if anything.
func objectionToText(text string, most int) string {
	switch {
	case text == "":
		return "is required"
	case strings.ContainsRune(text, 0):
		return "contains the character U+0000"
	case utf8.RuneCountInString(text) > most:
		return fmt.Sprintf("is longer than %d characters", most)
	}
	return ""
}
