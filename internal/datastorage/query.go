package datastorage

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

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
		q, err := s.eventQuery(r.URL.Query(), p)
		if err != nil {
			return answer{}, err
		}
		page, err := s.trail.Query(ctx, q)
		if err != nil {
			return answer{}, err
		}
		return answer{http.StatusOK, api.EventPage{
			Data: list(page.Events),
			Pagination: api.Pagination{
				Limit: q.Limit, Offset: q.Offset, Total: page.Total, TotalIsMinimum: page.TotalIsMinimum,
				HasMore: page.Next != nil, NextCursor: nextCursor(page.Next, q, r.URL.Query()),
			},
		}}, nil
	})
}

// eventQuery turns the parameters into a Query.
func (s *Server) eventQuery(raw url.Values, p api.QueryAuditEventsParams) (Query, error) {
	q := Query{Limit: or(p.Limit, defaultLimit), Offset: p.Offset, Ascending: p.Order == api.QueryAuditEventsParamsOrderAsc}
	now := s.now()
	for _, t := range []struct {
		field, text string
		into        *time.Time
	}{{"since", p.Since, &q.Since}, {"until", p.Until, &q.Until}} {
		at, ok := parseTime(t.text, now)
		if !ok {
			return q, invalid("write it as 2026-01-31T10:00:00Z, 2026-01-31, 24h or 7d", api.FieldProblem{Field: t.field, Message: "is not a time"})
		}
		*t.into = at
	}
	for _, e := range []Equal{
		{"event_id", p.EventID}, {"parent_event_id", p.ParentEventID},
		{"correlation_id", p.CorrelationID}, {"event_type", p.EventType}, {"event_category", p.EventCategory},
		{"event_action", p.EventAction}, {"event_outcome", string(p.EventOutcome)}, {"actor_type", p.ActorType},
		{"actor_id", p.ActorID}, {"resource_type", p.ResourceType}, {"resource_id", p.ResourceID},
		{"resource_name", p.ResourceName}, {"namespace", p.Namespace}, {"cluster_name", p.ClusterName},
		{"severity", p.Severity}, {"trace_id", p.TraceID}, {"error_code", p.ErrorCode},
	} {
		if e.Value != "" && e.Value != uuid.Nil {
			q.Equals = append(q.Equals, e)
		}
	}
	return q, q.continueAt(p.Cursor, raw)
}

// list is a slice that is written as [] and never as null.
func list[T any](values []T) []T {
	if values == nil {
		return []T{}
	}
	return values
}

func or(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// ago matches how long ago something was, such as 24h or 7d.
var ago = regexp.MustCompile(`^([0-9]{1,6})([smhdw])$`)

var units = map[string]time.Duration{
	"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

// parseTime reads a time in one of the forms of the contract; an empty text is the
// zero time.
func parseTime(text string, now time.Time) (time.Time, bool) {
	if text == "" {
		return time.Time{}, true
	}
	if m := ago.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		return now.Add(-time.Duration(n) * units[m[2]]), err == nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// cursor is a Place as clients carry it, with what the pages before it meant.
type cursor struct {
	Snapshot  string    `json:"s"`
	Epoch     int16     `json:"e"`
	Timestamp time.Time `json:"t"`
	EventID   uuid.UUID `json:"i"`
	Since     time.Time `json:"f,omitzero"` // "24h" means the same on every page
	Until     time.Time `json:"u,omitzero"`
	Filters   string    `json:"q"` // digest of the filters and the order
}

// nextCursor writes where the next page begins, or "" after the last.
func nextCursor(next *Place, q Query, raw url.Values) string {
	if next == nil {
		return ""
	}
	text, err := json.Marshal(cursor{
		Snapshot: next.Snapshot, Epoch: next.Epoch, Timestamp: next.Timestamp, EventID: next.EventID,
		Since: q.Since, Until: q.Until, Filters: filters(raw),
	})
	if err != nil {
		panic(err) // times of the years 2000 to 9999
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// snapshotText is what PostgreSQL writes a snapshot as.
var snapshotText = regexp.MustCompile(`^[0-9]{1,20}:[0-9]{1,20}:([0-9]{1,20}(,[0-9]{1,20})*)?$`)

// continueAt makes a query go on where a cursor says.
func (q *Query) continueAt(text string, raw url.Values) error {
	if text == "" {
		return nil
	}
	var c cursor
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(decoded, &c) != nil || !snapshotText.MatchString(c.Snapshot) {
		return ErrCursor
	}
	if c.Filters != filters(raw) || q.Offset != 0 {
		return ErrCursor
	}
	q.Since, q.Until = c.Since, c.Until
	q.After = &Place{Snapshot: c.Snapshot, Epoch: c.Epoch, Timestamp: c.Timestamp, EventID: c.EventID}
	return nil
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

// checkQuery refuses what the generated code lets pass: parameters that the
// operation does not know, or that are given twice or empty, and values out of
// their range. A filter that were ignored would answer with more than was asked for.
func checkQuery(raw url.Values, params any) error {
	known := map[string]reflect.Value{}
	v := reflect.ValueOf(params)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("form"), ",")
		known[name] = v.Field(i)
	}
	var found []api.FieldProblem
	for name, values := range raw {
		if message := objectionTo(known, name, values); message != "" {
			found = append(found, api.FieldProblem{Field: name, Message: message})
		}
	}
	if len(found) == 0 {
		return nil
	}
	slices.SortFunc(found, func(a, b api.FieldProblem) int { return strings.Compare(a.Field, b.Field) })
	return invalid("correct the parameters named; /openapi.yaml has them all", found...)
}

// parameterRanges are the bounds of parameters that are numbers.
var parameterRanges = map[string][2]int64{"limit": {1, maxLimit}, "offset": {0, maxOffset}}

func objectionTo(known map[string]reflect.Value, name string, values []string) string {
	value, ok := known[name]
	switch {
	case !ok:
		return "is not a parameter of this operation"
	case len(values) > 1:
		return "is given more than once"
	case values[0] == "":
		return "is empty"
	case strings.ContainsRune(values[0], 0) || !utf8.ValidString(values[0]):
		return "is not valid text"
	}
	if enum, ok := value.Interface().(interface{ Valid() bool }); ok && !enum.Valid() {
		return "is not one of the values that the contract names"
	}
	if id, ok := value.Interface().(uuid.UUID); ok && id == uuid.Nil {
		return "names nothing"
	}
	if bounds, ok := parameterRanges[name]; ok && (value.Int() < bounds[0] || value.Int() > bounds[1]) {
		return fmt.Sprintf("must be between %d and %d", bounds[0], bounds[1])
	}
	return ""
}
