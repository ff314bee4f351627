package audit

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// How far an event's time may be from the server's.
const (
	MaxAhead = 5 * time.Minute
	MaxBack  = 7 * 24 * time.Hour
)

// earliest is the first time that an event may bear.
var earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Window is the span of times that the events of one client may bear.
type Window struct {
	Now      time.Time // the zero time allows every time
	Backdate bool      // the client may send events older than MaxBack
}

// Problem is one thing that is wrong with one member of an event.
type Problem = datastorage.FieldProblem

// Check returns everything that is wrong with the members of an event, apart
// from event_data, which Seal reads. A nil result means nothing.
func Check(e *Event, w Window) []Problem {
	var found []Problem
	report := func(field, format string, args ...any) {
		found = append(found, Problem{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	for i := range Fields {
		if message := Fields[i].check(e); message != "" {
			report(Fields[i].Name, "%s", message)
		}
	}
	if !e.EventOutcome.Valid() {
		report("event_outcome", "must be success, failure or pending")
	}
	if message := w.check(e.EventTimestamp); message != "" {
		report("event_timestamp", "%s", message)
	}
	if d := e.DurationMS; d != nil && (*d < 0 || *d > MaxDuration) {
		report("duration_ms", "must be between 0 and %d", MaxDuration)
	}
	return found
}

func (f *Field) check(e *Event) string {
	text := f.Get(e)
	switch {
	case text == "" && f.Required:
		return "is required"
	case text == "":
		return ""
	case !utf8.ValidString(text):
		return "is not valid UTF-8"
	case strings.ContainsRune(text, 0):
		return "contains the character U+0000"
	case utf8.RuneCountInString(text) > f.Max:
		return fmt.Sprintf("is longer than %d characters", f.Max)
	case f.Pattern != nil && !f.Pattern.MatchString(text):
		return "does not match " + f.Pattern.String()
	}
	return ""
}

func (w Window) check(t time.Time) string {
	switch {
	case t.IsZero():
		return "is required"
	case t.Before(earliest) || t.UTC().Year() > 9999:
		return "is out of range: the years 2000 to 9999 are kept"
	case w.Now.IsZero():
		return ""
	case t.After(w.Now.Add(MaxAhead)):
		return fmt.Sprintf("is more than %s ahead of the server's clock (%s)", MaxAhead, w.Now.UTC().Format(time.RFC3339))
	case !w.Backdate && t.Before(w.Now.Add(-MaxBack)):
		return fmt.Sprintf("is more than 7 days back; sending it needs the verb %q on auditevents", "backdate")
	}
	return ""
}
