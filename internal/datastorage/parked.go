package datastorage

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
)

const (
	maxPlaces      = 100
	maxReason      = 1024
	maxKeptOfPurge = 96 << 10 // bytes of a purged event's content, as a JSON string, in the audit event
)

// ListParkedEvents lets an operator look at what is parked or was moved aside.
func (s *Server) ListParkedEvents(w http.ResponseWriter, r *http.Request, p api.ListParkedEventsParams) {
	s.serve(w, r, Access{"admin", auditEvents}, func(ctx context.Context, _ Caller) (answer, error) {
		if err := checkQuery(r.URL.Query(), p); err != nil {
			return answer{}, err
		}
		queue := p.Queue
		if queue == "" {
			queue = api.ParkedQueueWaiting
		}
		waiting, poisoned, err := s.parking.Count(ctx)
		if err != nil {
			return answer{}, err
		}
		entries, err := s.parking.List(ctx, queue, p.After, cmp.Or(p.Limit, defaultLimit))
		if err != nil {
			return answer{}, err
		}
		return answer{http.StatusOK, api.ParkedPage{Data: list(entries), Waiting: waiting, Poisoned: poisoned}}, nil
	})
}

// RetryParkedEvents puts poisoned events behind the waiting ones.
func (s *Server) RetryParkedEvents(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, Access{"admin", auditEvents}, func(ctx context.Context, who Caller) (answer, error) {
		var body api.ParkedRetry
		if err := s.readJSON(w, r, &body); err != nil {
			return answer{}, err
		}
		if err := checkPlaces(body.Places); err != nil {
			return answer{}, err
		}
		run := uuid.New()
		if err := s.note(ctx, who, note{
			subject: run, action: "parked.retried", correlation: run.String(), at: s.now(), data: map[string]any{"places": body.Places},
		}); err != nil {
			return answer{}, err
		}
		n, err := s.parking.Retry(ctx, body.Places)
		return answer{http.StatusOK, api.ParkedChange{Events: n}}, err
	})
}

// PurgeParkedEvents removes parked events for good. Each is in the trail as an audit
// event before it is gone.
func (s *Server) PurgeParkedEvents(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, Access{"admin", auditEvents}, func(ctx context.Context, who Caller) (answer, error) {
		var body api.ParkedPurge
		if err := s.readJSON(w, r, &body); err != nil {
			return answer{}, err
		}
		if err := checkPlaces(body.Places); err != nil {
			return answer{}, err
		}
		if err := checkText("reason", body.Reason, maxReason); err != nil {
			return answer{}, err
		}
		if !body.Queue.Valid() {
			return answer{}, invalid("name the queue", api.FieldProblem{Field: "queue", Message: "must be waiting or poisoned"})
		}
		entries, err := s.parking.Find(ctx, body.Queue, body.Places)
		if err != nil {
			return answer{}, err
		}
		found := make([]string, len(entries))
		for i, e := range entries {
			found[i] = e.Place
			if err := s.note(ctx, who, s.purged(e, body)); err != nil {
				return answer{}, err
			}
		}
		if len(found) == 0 {
			return answer{http.StatusOK, api.ParkedChange{}}, nil
		}
		n, err := s.parking.Purge(ctx, body.Queue, found)
		return answer{http.StatusOK, api.ParkedChange{Events: n}}, err
	})
}

// purged is the audit event of one purge. It keeps what is lost otherwise.
func (s *Server) purged(e api.ParkedEntry, why api.ParkedPurge) note {
	data := map[string]any{
		"queue": why.Queue, "reason": why.Reason, "place": e.Place, "event_id": readable(e.EventID),
		"digest": audit.Digest(sha256.Sum256([]byte(e.Content))).String(),
	}
	if e.Reason != "" {
		data["moved_aside"] = readable(e.Reason)
	}
	correlation := "datastorage"
	if event, err := audit.Open([]byte(e.Content)); err == nil && objectionToText(event.Event.CorrelationID, maxCorrelation) == "" {
		correlation = event.Event.CorrelationID
	}
	if keepable(e.Content) {
		data["content"] = e.Content
	}
	return note{subject: uuid.New(), action: "parked.purged", correlation: correlation, at: s.now(), data: data}
}

// keepable says whether an event can carry a text: what was parked may be damaged. One
// that it cannot carry is left to its digest.
func keepable(text string) bool {
	quoted, err := jsontext.AppendQuote(nil, text)
	return err == nil && len(quoted) <= maxKeptOfPurge && !strings.ContainsRune(text, 0)
}

// readable is the beginning of a text as an event can carry it.
func readable(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	return string([]rune(text)[:min(len([]rune(text)), maxReason)])
}

func checkPlaces(places []string) error {
	if len(places) > 0 && len(places) <= maxPlaces {
		return nil
	}
	return invalid("name the entries by their places", api.FieldProblem{Field: "places", Message: fmt.Sprintf("must have between 1 and %d entries", maxPlaces)})
}

// checkText says what is wrong with a text that must be there, or nil.
func checkText(field, text string, most int) error {
	if problem := objectionToText(text, most); problem != "" {
		return invalid("correct the field named", api.FieldProblem{Field: field, Message: problem})
	}
	return nil
}
