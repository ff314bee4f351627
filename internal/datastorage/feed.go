package datastorage

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// How the feed waits. The database is asked instead of telling, because a
// transaction that tells others (NOTIFY) takes a lock that all such commits wait for.
const (
	feedEvery  = 250 * time.Millisecond // how often it looks for more
	feedAlive  = 15 * time.Second       // how often it says something, so that a dead connection is noticed
	feedReview = time.Minute            // how often the caller's right is looked at again
	maxFeeds   = 64                     // at once
)

// FollowAuditEvents sends events as they become safe to show.
func (s *Server) FollowAuditEvents(w http.ResponseWriter, r *http.Request, p api.FollowAuditEventsParams) {
	if _, err := s.admit(r, Access{"get", auditEvents}); err != nil {
		s.refuse(w, r, err)
		return
	}
	f, err := s.newFeed(w, r, p)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if s.feeds.Add(1) > maxFeeds {
		err = &problem{
			status: http.StatusServiceUnavailable, kind: "busy", retryAfter: 10,
			detail: fmt.Sprintf("%d clients follow the trail already; end one, or ask again later", maxFeeds),
		}
	} else {
		err = f.run(r.Context())
	}
	s.feeds.Add(-1)
	if err != nil && r.Context().Err() == nil {
		s.fail(f.out, r, err)
	}
}

// feed is one client who follows the trail.
type feed struct {
	server  *Server
	request *http.Request
	filter  Filter
	after   *Position // nil: from now on
	waits   bool
	out     *stream
	line    []byte
	said    time.Time // when something was sent
	checked time.Time // when the caller's right was last looked at
}

func (s *Server) newFeed(w http.ResponseWriter, r *http.Request, p api.FollowAuditEventsParams) (*feed, error) {
	if err := checkQuery(r.URL.Query(), p); err != nil {
		return nil, err
	}
	filter, err := filterOf(r.URL.Query(), s.now())
	if err != nil {
		return nil, err
	}
	f := &feed{server: s, request: r, filter: filter, waits: p.Wait != api.FollowAuditEventsParamsWaitNever}
	switch text := cmp.Or(p.Cursor, p.LastEventID); {
	case text != "":
		if f.after, err = readPosition(text); err != nil {
			return nil, err
		}
	case p.From == api.FollowAuditEventsParamsFromBeginning:
		f.after = &Position{}
	}
	now := time.Now()
	f.said, f.checked = now, now
	f.out = newStream(w, r, "text/event-stream", false)
	return f, nil
}

// run sends until the client leaves, the service ends, or nothing more is waited for.
func (f *feed) run(ctx context.Context) error {
	ticker := time.NewTicker(feedEvery)
	defer ticker.Stop()
	for {
		batch, err := f.server.reader.Feed(ctx, f.filter, f.after)
		if err != nil {
			return err
		}
		if err := f.send(batch); err != nil {
			return err
		}
		if batch.CaughtUp && !f.waits || !f.goOn(ctx, batch.CaughtUp, ticker.C) {
			return f.out.end()
		}
		if err := f.review(); err != nil {
			return err
		}
	}
}

// goOn waits when all was shown. It returns false when the feed is to end.
func (f *feed) goOn(ctx context.Context, caughtUp bool, next <-chan time.Time) bool {
	if !caughtUp {
		now := make(chan time.Time)
		close(now)
		next = now
	}
	select {
	case <-f.server.ending:
		return false
	default:
	}
	select {
	case <-ctx.Done():
		return false
	case <-f.server.ending:
		return false
	case <-next:
		return true
	}
}

// send writes a batch, and now and then a message without data, which keeps the
// connection and moves the cursor on where nothing matches.
func (f *feed) send(b Batch) error {
	begins := !f.out.begun
	f.after = &b.Next
	for i := range b.Events {
		if err := f.event(&b.Events[i]); err != nil {
			return err
		}
	}
	now := time.Now()
	if len(b.Events) == 0 && !begins && now.Sub(f.said) < feedAlive {
		return nil
	}
	f.said = now
	if _, err := fmt.Fprintf(f.out, "id: %s\n\n", b.Next); err != nil {
		return err
	}
	return f.out.flush()
}

func (f *feed) event(e *FeedEvent) error {
	f.line = fmt.Appendf(f.line[:0], "id: %s\nevent: audit\ndata: ", e.Position)
	f.line = append(e.appendLine(f.line), "\n\n"...)
	_, err := f.out.Write(f.line)
	return err
}

// review looks whether the caller may still read: a right that was taken away, or a
// token that has expired, ends the feed.
func (f *feed) review() error {
	now := time.Now()
	if now.Sub(f.checked) < feedReview {
		return nil
	}
	f.checked = now
	_, err := f.server.admit(f.request, Access{"get", auditEvents})
	return err
}

// String writes a position as clients carry it.
func (p Position) String() string {
	return fmt.Sprintf("%d.%d.%d.%s", p.Epoch, p.XID, p.Timestamp.UnixMicro(), p.EventID)
}

// readPosition reads what String wrote.
func readPosition(text string) (*Position, error) {
	var p Position
	var micros int64
	var id string
	if _, err := fmt.Sscanf(text, "%d.%d.%d.%s", &p.Epoch, &p.XID, &micros, &id); err != nil {
		return nil, ErrCursor
	}
	var err error
	p.Timestamp = time.UnixMicro(micros).UTC()
	if p.EventID, err = uuid.Parse(id); err != nil || p.String() != text {
		return nil, ErrCursor
	}
	return &p, nil
}
