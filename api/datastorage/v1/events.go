package datastorage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"

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
	parked, err := c.events.record(ctx, raw)
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

// sendEvents sends events in one request and says whether they were parked.
func (c *Client) sendEvents(ctx context.Context, events [][]byte) (parked bool, err error) {
	r := call{method: http.MethodPost, path: "/api/v1/audit/events", body: events[0]}
	if len(events) > 1 {
		r.path = "/api/v1/audit/events/batch"
		r.body = append(append([]byte("["), bytes.Join(events, []byte(","))...), ']')
	}
	status, err := c.do(ctx, r)
	return status == http.StatusAccepted, err
}
