package postgres

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

// where collects conditions with their parameters.
type where struct {
	terms []string
	args  []any
}

// add appends a condition; each %d in it stands for the number of the next parameter.
func (w *where) add(term string, args ...any) {
	numbers := make([]any, len(args))
	for i := range args {
		numbers[i] = len(w.args) + i + 1
	}
	w.terms = append(w.terms, fmt.Sprintf(term, numbers...))
	w.args = append(w.args, args...)
}

func (w *where) sql() string {
	if len(w.terms) == 0 {
		return "true"
	}
	return strings.Join(w.terms, " AND ")
}

// filtered are the conditions of a filter.
func filtered(f datastorage.Filter) *where {
	w := &where{}
	for _, e := range f.Equals {
		w.addMember(e)
	}
	if !f.Since.IsZero() {
		w.add("event_timestamp >= $%d", f.Since)
	}
	if !f.Until.IsZero() {
		w.add("event_timestamp < $%d", f.Until)
	}
	if !f.ReceivedSince.IsZero() {
		w.add("received_at >= $%d", f.ReceivedSince)
	}
	if !f.ReceivedUntil.IsZero() {
		// What was received by then bears no later time than this, which leads to the partitions.
		w.add("event_timestamp <= $%d", f.ReceivedUntil.Add(audit.MaxAhead))
		w.add("received_at < $%d", f.ReceivedUntil)
	}
	if f.MinDuration != nil {
		w.add("duration_ms >= $%d", *f.MinDuration)
	}
	if f.MaxDuration != nil {
		w.add("duration_ms <= $%d", *f.MaxDuration)
	}
	for _, term := range f.Data {
		w.addData(term)
	}
	return w
}

// together are the members of which events with one value stand close together, in
// few blocks of the table. The planner cannot know that of values without order, and
// believes that it must read all blocks. Their indexes know received_at as well, which
// has the order of the table: with a condition on it, always true, it believes in few.
var together = map[string]bool{"resource_name": true, "parent_event_id": true, "trace_id": true, "span_id": true}

// addMember asks for one value of one member.
func (w *where) addMember(e datastorage.Equal) {
	if e.Column == "event_id" {
		// Only audit_event_id knows an event by its id; its time leads to the partition.
		w.add("event_timestamp = (SELECT event_timestamp FROM audit_event_id WHERE event_id = $%d)", e.Value)
	}
	if together[e.Column] {
		w.add("received_at >= '-infinity'")
	}
	w.add(pgx.Identifier{e.Column}.Sanitize()+" = $%d", e.Value)
}

// addData asks for something in event_data. A path and a value are parameters.
func (w *where) addData(t datastorage.DataTerm) {
	switch t.Op {
	case datastorage.OpExists:
		w.add("event_data #> $%d::text[] IS NOT NULL", t.Path)
	case datastorage.OpIs:
		w.add("event_data #>> $%d::text[] = $%d", t.Path, t.Text)
	case datastorage.OpAtLeast, datastorage.OpAtMost, datastorage.OpAbove, datastorage.OpBelow:
		number := strconv.FormatFloat(t.Number, 'g', -1, 64)
		w.add("CASE jsonb_typeof(event_data #> $%d::text[]) WHEN 'number' THEN (event_data #>> $%d::text[])::numeric "+
			string(t.Op)+" $%d::text::numeric ELSE false END", t.Path, t.Path, number)
	default:
		w.add("false") // no such comparison
	}
}

// visibleAt leaves out what a snapshot did not show.
func (w *where) visibleAt(p datastorage.Place) {
	w.add("(epoch < $%d OR epoch = $%d AND pg_visible_in_snapshot(xid, $%d::pg_snapshot))", p.Epoch, p.Epoch, p.Snapshot)
}

// beyond leaves out all up to where the page before ended.
func (w *where) beyond(p datastorage.Place, ascending bool) {
	op := "<"
	if ascending {
		op = ">"
	}
	// The first condition follows from the second, and leads to the partitions.
	w.add("event_timestamp "+op+"= $%d", p.Timestamp)
	w.add("(event_timestamp, event_id) "+op+" ($%d, $%d)", p.Timestamp, p.EventID)
}
