package datastorage

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

const (
	defaultLimit = 50
	maxLimit     = 1000
	maxOffset    = 100_000
)

// QueryAuditEvents reads one page of events.
func (s *Server) QueryAuditEvents(w http.ResponseWriter, r *http.Request, p api.QueryAuditEventsParams) {
	s.serve(w, r, Access{"get", auditEvents}, func(ctx context.Context, _ Caller) (answer, error) {
		if err := checkQuery(r.URL.Query(), p); err != nil {
			return answer{}, err
		}
		q, now, err := s.eventQuery(r.URL.Query(), p)
		if err != nil {
			return answer{}, err
		}
		page, err := s.reader.Query(ctx, q)
		if err != nil {
			return answer{}, err
		}
		return answer{http.StatusOK, api.EventPage{
			Data: list(page.Events),
			Pagination: api.Pagination{
				Limit: room(q.Limit, len(page.Events), page.Next != nil), Offset: q.Offset, Total: page.Total, TotalIsMinimum: page.TotalIsMinimum,
				HasMore: page.Next != nil, NextCursor: nextCursor(page.Next, now, r.URL.Query()),
			},
		}}, nil
	})
}

// room is how many a page could have: fewer than asked for when it ended early because
// they are large, so that whoever goes on by offset and limit leaves none out.
func room(limit, here int, more bool) int {
	if more {
		return here
	}
	return limit
}

// eventQuery turns the parameters into a Query, and says what "now" is in it: the
// time of the first page.
func (s *Server) eventQuery(raw url.Values, p api.QueryAuditEventsParams) (q Query, now time.Time, err error) {
	q = Query{Limit: cmp.Or(p.Limit, defaultLimit), Offset: p.Offset, Ascending: p.Order == api.QueryAuditEventsParamsOrderAsc}
	now = s.now().UTC()
	if p.Cursor != "" {
		if q.After, now, err = readCursor(p.Cursor, raw); err != nil || q.Offset != 0 {
			return q, now, ErrCursor
		}
	}
	q.Filter, err = filterOf(raw, now)
	return q, now, err
}

// list is a slice that is written as [] and never as null.
func list[T any](values []T) []T {
	if values == nil {
		return []T{}
	}
	return values
}

// cursor is a Place as clients carry it, with what the pages before it meant.
type cursor struct {
	Snapshot  string    `json:"s"`
	Epoch     int16     `json:"e"`
	Timestamp time.Time `json:"t"`
	EventID   uuid.UUID `json:"i"`
	Total     int       `json:"n"`
	Minimum   bool      `json:"m,omitzero"` // there are more than Total
	Now       time.Time `json:"w"`          // "24h" means the same on every page
	Filters   string    `json:"q"`          // digest of the filters and the order
}

// nextCursor writes where the next page begins, or "" after the last.
func nextCursor(next *Place, now time.Time, raw url.Values) string {
	if next == nil {
		return ""
	}
	text, err := json.Marshal(cursor{
		Snapshot: next.Snapshot, Epoch: next.Epoch, Timestamp: next.Timestamp, EventID: next.EventID,
		Total: next.Total, Minimum: next.TotalIsMinimum, Now: now, Filters: filters(raw),
	})
	if err != nil {
		panic(err) // times of the years 2000 to 9999
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// snapshotText is what PostgreSQL writes a snapshot as.
var snapshotText = regexp.MustCompile(`^[0-9]{1,20}:[0-9]{1,20}:([0-9]{1,20}(,[0-9]{1,20})*)?$`)

// readCursor returns where a cursor says that the next page begins, and the time
// of the first.
func readCursor(text string, raw url.Values) (*Place, time.Time, error) {
	var c cursor
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(decoded, &c) != nil || !snapshotText.MatchString(c.Snapshot) || c.Filters != filters(raw) {
		return nil, time.Time{}, ErrCursor
	}
	return &Place{
		Snapshot: c.Snapshot, Epoch: c.Epoch, Timestamp: c.Timestamp, EventID: c.EventID,
		Total: min(max(c.Total, 0), MaxTotal), TotalIsMinimum: c.Minimum,
	}, c.Now, nil
}

// filters is a digest of all parameters but those that only choose the page.
func filters(raw url.Values) string {
	chosen := url.Values{}
	for name, values := range raw {
		if name != "cursor" && name != "limit" && name != "offset" {
			chosen[name] = values
		}
	}
	sum := sha256.Sum256([]byte(chosen.Encode()))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}
