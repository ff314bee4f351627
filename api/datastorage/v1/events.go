package datastorage

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"

	"github.com/google/uuid"
)

// Receipt is the acknowledgement of one event: it is safe.
type Receipt struct {
	EventID uuid.UUID
	Parked  bool // PostgreSQL was away: it is on disk in Redis and moves on by itself
}

// Record sends one event and returns when it is acknowledged. Callers that come
// within a few milliseconds share one request; each gets its own answer.
//
// An event without an id is given one. To be able to send it again after an
// error, give it an id that is derived from what it says.
func (c *Client) Record(ctx context.Context, e AuditEvent) (Receipt, error) {
	if e.EventID == uuid.Nil {
		e.EventID = uuid.New()
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return Receipt{}, fmt.Errorf("%w: writing event %s as JSON: %w", ErrInvalid, e.EventID, err)
	}
	parked, err := c.events.record(ctx, message{e.EventID, raw})
	if err != nil {
		return Receipt{}, fmt.Errorf("recording event %s (%s): %w", e.EventID, e.EventType, err)
	}
	return Receipt{EventID: e.EventID, Parked: parked}, nil
}

// Events returns one page of the trail.
func (c *Client) Events(ctx context.Context, q QueryAuditEventsParams) (EventPage, error) {
	query, err := values(q)
	if err != nil {
		return EventPage{}, err
	}
	var page EventPage
	_, err = c.do(ctx, call{method: http.MethodGet, path: "/api/v1/audit/events", query: query, into: &page})
	return page, err
}

// AllEvents goes through every event that was there when it began, page by page.
// It ends after the first error.
func (c *Client) AllEvents(ctx context.Context, q QueryAuditEventsParams) iter.Seq2[StoredEvent, error] {
	return func(yield func(StoredEvent, error) bool) {
		for {
			page, err := c.Events(ctx, q)
			if err != nil {
				yield(StoredEvent{}, err)
				return
			}
			for _, e := range page.Data {
				if !yield(e, nil) {
					return
				}
			}
			if q.Cursor = page.Pagination.NextCursor; q.Cursor == "" {
				return
			}
		}
	}
}

// message is an event on its way.
type message struct {
	id  uuid.UUID
	raw []byte // JSON
}

// sendEvents sends events in one request and says whether they were parked. An
// answer that does not name them is no acknowledgement, whoever gave it.
func (c *Client) sendEvents(ctx context.Context, events []message) (parked bool, err error) {
	var one EventAcknowledgement
	var many BatchAcknowledgement
	r := call{method: http.MethodPost, path: "/api/v1/audit/events", body: events[0].raw, into: &one}
	if len(events) > 1 {
		r.path, r.into = "/api/v1/audit/events/batch", &many
		r.body = []byte("[")
		for _, e := range events {
			r.body = append(append(r.body, e.raw...), ',')
		}
		r.body[len(r.body)-1] = ']'
	}
	status, err := c.do(ctx, r)
	if err != nil {
		return false, err
	}
	named := many.EventIDs
	if len(events) == 1 {
		named = []uuid.UUID{one.EventID}
	}
	if !slices.EqualFunc(named, events, func(id uuid.UUID, e message) bool { return id == e.id }) {
		return false, fmt.Errorf("%w: %s answered %d without naming the events", ErrUnavailable, r.path, status)
	}
	return status == http.StatusAccepted, nil
}
