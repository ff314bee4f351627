package datastorage

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// RecordNotification records that somebody was notified. The error is ErrConflict
// when the notification_id is recorded already, which it also is when an answer was
// lost and the client has sent it again.
func (c *Client) RecordNotification(ctx context.Context, n Notification) (NotificationAcknowledgement, error) {
	var answer NotificationAcknowledgement
	raw, err := json.Marshal(n)
	if err != nil {
		return answer, err
	}
	_, err = c.do(ctx, call{method: http.MethodPost, path: "/api/v1/audit/notifications", body: raw, into: &answer})
	if err != nil {
		return answer, fmt.Errorf("recording notification %s: %w", n.NotificationID, err)
	}
	return answer, nil
}

// Summary counts events by group.
func (c *Client) Summary(ctx context.Context, q SummarizeAuditEventsParams) (Summary, error) {
	var answer Summary
	query, err := values(q)
	if err != nil {
		return answer, err
	}
	if keys := query["group_by"]; len(keys) > 1 {
		query.Set("group_by", strings.Join(keys, ","))
	}
	_, err = c.do(ctx, call{method: http.MethodGet, path: "/api/v1/audit/summary", query: query, into: &answer})
	return answer, err
}

// ExecutionTrail says whether the trail of one execution, given by its UID, is
// whole. The error is ErrNotFound when no event of it is there.
func (c *Client) ExecutionTrail(ctx context.Context, execution string) (Completeness, error) {
	var answer Completeness
	path := "/api/v1/audit/executions/" + url.PathEscape(execution) + "/completeness"
	if _, err := c.do(ctx, call{method: http.MethodGet, path: path, into: &answer}); err != nil {
		return answer, fmt.Errorf("checking the trail of execution %s: %w", execution, err)
	}
	return answer, nil
}

// Export writes all events that match to w, in the form that q asks for, and returns
// how many there were. After an error w may hold some of them: begin again.
func (c *Client) Export(ctx context.Context, q ExportAuditEventsParams, w io.Writer) (events int, err error) {
	query, err := values(q)
	if err != nil {
		return 0, err
	}
	res, err := c.open(ctx, call{method: http.MethodGet, path: "/api/v1/audit/events/export", query: query})
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, res.Body); err != nil {
		return 0, fmt.Errorf("%w: the export broke off: %w", ErrUnavailable, err)
	}
	events, err = strconv.Atoi(res.Trailer.Get(TrailerEvents))
	if err != nil {
		return 0, fmt.Errorf("%w: the export broke off: it ended without saying how many events it has", ErrUnavailable)
	}
	return events, nil
}

// FeedEvent is an event of the feed, and the cursor after which it goes on.
type FeedEvent struct {
	StoredEvent
	Cursor string `json:"cursor"`
}

// feedSilence is how long a feed may say nothing before the connection counts as
// dead. The server says something four times as often.
const feedSilence = time.Minute

// Follow goes through the events that match as they become safe to show, each once,
// until ctx ends. When the connection breaks it goes on after the last event. It ends
// after the first error that trying again does not help against; with wait=never it
// ends when all were shown.
func (c *Client) Follow(ctx context.Context, q FollowAuditEventsParams) iter.Seq2[FeedEvent, error] {
	return func(yield func(FeedEvent, error) bool) {
		for attempt := 1; ; attempt++ {
			before := q.Cursor
			taken, err := c.followOnce(ctx, &q, func(e FeedEvent) bool { return yield(e, nil) })
			switch {
			case ctx.Err() != nil || !taken:
				return
			case err == nil && q.Wait == FollowAuditEventsParamsWaitNever:
				return
			case err != nil && !worthRetrying(err):
				yield(FeedEvent{}, err)
				return
			}
			if q.Cursor != before {
				attempt = 1
			}
			if !wait(ctx, pause(attempt, err)) {
				return
			}
		}
	}
}

// followOnce follows over one connection and keeps q's cursor. taken is false when
// yield wants no more.
func (c *Client) followOnce(ctx context.Context, q *FollowAuditEventsParams, yield func(FeedEvent) bool) (taken bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	query, err := values(*q)
	if err != nil {
		return true, err
	}
	res, err := c.open(ctx, call{method: http.MethodGet, path: "/api/v1/audit/events/feed", query: query})
	if err != nil {
		return true, err
	}
	defer res.Body.Close()
	silence := time.AfterFunc(feedSilence, cancel)
	defer silence.Stop()
	for m, err := range messages(res.Body) {
		if err != nil {
			return true, fmt.Errorf("%w: the feed broke off: %w", ErrUnavailable, err)
		}
		silence.Reset(feedSilence)
		if m.id != "" {
			q.Cursor, q.From = m.id, ""
		}
		if len(m.data) == 0 {
			continue
		}
		e := FeedEvent{Cursor: m.id}
		if err := json.Unmarshal(m.data, &e.StoredEvent); err != nil {
			return true, fmt.Errorf("%w: the feed sent something else than the contract says: %w", ErrInvalid, err)
		}
		if !yield(e) {
			return false, nil
		}
	}
	return true, nil
}
