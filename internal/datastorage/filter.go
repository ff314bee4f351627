package datastorage

import (
	"net/url"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
)

// maxDataTerms is how many event_data filters one request may have, and
// maxDataTerm how long one may be.
const (
	maxDataTerms = 8
	maxDataTerm  = 1024
)

// filterOf reads the filters, which all reading operations share. A member of an
// event is a filter by its name.
func filterOf(raw url.Values, now time.Time) (Filter, error) {
	r := &filterReader{raw: raw, now: now}
	f := Filter{
		Since: r.time("since"), Until: r.time("until"),
		ReceivedSince: r.time("received_since"), ReceivedUntil: r.time("received_until"),
		MinDuration: r.duration("min_duration_ms"), MaxDuration: r.duration("max_duration_ms"),
		Data: r.data("event_data"),
	}
	for _, field := range audit.Fields {
		if text := raw.Get(field.Name); text != "" {
			if utf8.RuneCountInString(text) > field.Max {
				r.object(field.Name, "is longer than "+strconv.Itoa(field.Max)+" characters")
			}
			f.Equals = append(f.Equals, Equal{field.Name, text})
		}
	}
	if outcome := raw.Get("event_outcome"); outcome != "" {
		f.Equals = append(f.Equals, Equal{"event_outcome", outcome})
	}
	for _, name := range []string{"event_id", "parent_event_id"} {
		if text := raw.Get(name); text != "" {
			id, err := uuid.Parse(text)
			if err != nil {
				r.object(name, "is not a UUID")
			}
			f.Equals = append(f.Equals, Equal{name, id})
		}
	}
	if len(r.found) > 0 {
		return f, invalid("correct the parameters named; /openapi.yaml has their forms", r.found...)
	}
	return f, nil
}

// filterReader reads parameters and collects what is wrong with them.
type filterReader struct {
	raw   url.Values
	now   time.Time
	found []api.FieldProblem
}

func (r *filterReader) object(field, message string) {
	r.found = append(r.found, api.FieldProblem{Field: field, Message: message})
}

func (r *filterReader) time(name string) time.Time {
	at, ok := parseTime(r.raw.Get(name), r.now)
	if !ok {
		r.object(name, "is not a time; write it as 2026-01-31T10:00:00Z, 2026-01-31, 24h or 7d")
	}
	return at
}

func (r *filterReader) duration(name string) *int64 {
	if !r.raw.Has(name) {
		return nil
	}
	n, err := strconv.ParseInt(r.raw.Get(name), 10, 64)
	if err != nil || n < 0 || n > audit.MaxDuration {
		r.object(name, "is not a number of milliseconds")
	}
	return &n
}

func (r *filterReader) data(name string) (terms []DataTerm) {
	if len(r.raw[name]) > maxDataTerms {
		r.object(name, "is given more than "+strconv.Itoa(maxDataTerms)+" times")
		return nil
	}
	for _, text := range r.raw[name] {
		if utf8.RuneCountInString(text) > maxDataTerm {
			r.object(name, "is longer than "+strconv.Itoa(maxDataTerm)+" characters")
			continue
		}
		term, err := parseDataTerm(text)
		if err != nil {
			r.object(name, err.Error())
		}
		terms = append(terms, term)
	}
	return terms
}

// ago matches how long ago something was, such as 24h or 7d.
var ago = regexp.MustCompile(`^([0-9]{1,6})([smhdw])$`)

var units = map[string]time.Duration{
	"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

// earliest and latest are the times that the database can compare with.
var (
	earliest = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// parseTime reads a time in one of the forms of the contract; an empty text is the
// zero time.
func parseTime(text string, now time.Time) (time.Time, bool) {
	if text == "" {
		return time.Time{}, true
	}
	if m := ago.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		return before(now, time.Duration(n), units[m[2]]), err == nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, t.After(earliest) && t.Before(latest)
		}
	}
	return time.Time{}, false
}

// before is n units before now, or the earliest time where a duration cannot hold
// so many.
func before(now time.Time, n, unit time.Duration) time.Time {
	if n > 250*365*24*time.Hour/unit {
		return earliest
	}
	return now.Add(-n * unit)
}
