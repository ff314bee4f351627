package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestCheck(t *testing.T) {
	minus := int64(-1)
	for _, c := range []struct {
		why    string
		change func(*Event)
		window Window
		want   []Problem
	}{
		{why: "as it should be", change: func(*Event) {}},
		{
			why:    "nothing given",
			change: func(e *Event) { *e = Event{} },
			want: []Problem{
				{Field: "version", Message: "is required"},
				{Field: "event_type", Message: "is required"},
				{Field: "event_category", Message: "is required"},
				{Field: "event_action", Message: "is required"},
				{Field: "correlation_id", Message: "is required"},
				{Field: "event_outcome", Message: "must be success, failure or pending"},
				{Field: "event_timestamp", Message: "is required"},
			},
		},
		{
			why:    "as long as allowed, counted in characters",
			change: func(e *Event) { e.EventType = strings.Repeat("ü", 100) },
		},
		{
			why:    "too long",
			change: func(e *Event) { e.EventType = strings.Repeat("ü", 101) },
			want:   []Problem{{Field: "event_type", Message: "is longer than 100 characters"}},
		},
		{
			why:    "NUL",
			change: func(e *Event) { e.ErrorMessage = "a\x00b" },
			want:   []Problem{{Field: "error_message", Message: "contains the character U+0000"}},
		},
		{
			why:    "not UTF-8",
			change: func(e *Event) { e.ResourceID = "a\xff" },
			want:   []Problem{{Field: "resource_id", Message: "is not valid UTF-8"}},
		},
		{
			why:    "category of another form",
			change: func(e *Event) { e.EventCategory = "Work Flow" },
			want:   []Problem{{Field: "event_category", Message: "does not match ^[a-z][a-z0-9_.-]*$"}},
		},
		{
			why:    "negative duration",
			change: func(e *Event) { e.DurationMS = &minus },
			want:   []Problem{{Field: "duration_ms", Message: "must be between 0 and 9007199254740991"}},
		},
		{
			why:    "five minutes ahead",
			change: func(e *Event) { e.EventTimestamp = noon.Add(5 * time.Minute) },
			window: Window{Now: noon},
		},
		{
			why:    "further ahead",
			change: func(e *Event) { e.EventTimestamp = noon.Add(5*time.Minute + 1) },
			window: Window{Now: noon, Backdate: true},
			want: []Problem{{
				Field:   "event_timestamp",
				Message: "is more than 5m0s ahead of the server's clock (2026-03-01T12:00:00Z)",
			}},
		},
		{
			why:    "more than seven days back",
			change: func(e *Event) { e.EventTimestamp = noon.Add(-7*24*time.Hour - 1) },
			window: Window{Now: noon},
			want: []Problem{{
				Field:   "event_timestamp",
				Message: `is more than 7 days back; sending it needs the verb "backdate" on auditevents`,
			}},
		},
		{
			why:    "more than seven days back, by who may",
			change: func(e *Event) { e.EventTimestamp = noon.Add(-70 * 24 * time.Hour) },
			window: Window{Now: noon, Backdate: true},
		},
		{
			why:    "in another century",
			change: func(e *Event) { e.EventTimestamp = time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC) },
			window: Window{Now: noon, Backdate: true},
			want: []Problem{{
				Field: "event_timestamp", Message: "is out of range: the years 2000 to 9999 are kept",
			}},
		},
	} {
		t.Run(c.why, func(t *testing.T) {
			e := vectors(t)[0].Event
			c.change(&e)
			if diff := cmp.Diff(c.want, Check(&e, c.window)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
