package datastorage

import (
	"bytes"
	"encoding/csv"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// ExportAuditEvents sends all events that match.
func (s *Server) ExportAuditEvents(w http.ResponseWriter, r *http.Request, p api.ExportAuditEventsParams) {
	if _, err := s.admit(r, Access{"get", auditEvents}); err != nil {
		s.refuse(w, r, err)
		return
	}
	q, err := s.exportQuery(r.URL.Query(), p)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	form := forms[p.Format]
	out := newStream(w, r, form.media, true)
	w.Header().Set("Trailer", api.TrailerEvents)
	events := 0
	err = s.export(r, q, form.writer(out), func() { events++ })
	if err == nil {
		err = out.end()
	}
	if err != nil {
		s.fail(out, r, err)
		return
	}
	w.Header().Set(api.TrailerEvents, strconv.Itoa(events))
}

func (s *Server) exportQuery(raw url.Values, p api.ExportAuditEventsParams) (Query, error) {
	if err := checkQuery(raw, p); err != nil {
		return Query{}, err
	}
	f, err := filterOf(raw, s.now())
	return Query{Filter: f, Ascending: p.Order != api.ExportAuditEventsParamsOrderDesc}, err
}

func (s *Server) export(r *http.Request, q Query, to recordWriter, count func()) error {
	err := s.reader.Export(r.Context(), q, func(rec Record) error {
		count()
		return to.write(rec)
	})
	if err != nil {
		return err
	}
	return to.flush()
}

// recordWriter writes records in one form.
type recordWriter interface {
	write(Record) error
	flush() error
}

// forms are the forms of an export. Without one it is NDJSON.
var forms = map[api.ExportAuditEventsParamsFormat]struct {
	media  string
	writer func(io.Writer) recordWriter
}{
	"":                                      {"application/x-ndjson", newLines},
	api.ExportAuditEventsParamsFormatNdjson: {"application/x-ndjson", newLines},
	api.ExportAuditEventsParamsFormatCsv:    {"text/csv; charset=utf-8; header=present", newTable},
}

// lines writes a record a line, as JSON.
type lines struct {
	to   io.Writer
	line []byte
}

func newLines(to io.Writer) recordWriter { return &lines{to: to} }

func (l *lines) write(r Record) error {
	l.line = append(r.appendLine(l.line[:0]), '\n')
	_, err := l.to.Write(l.line)
	return err
}

func (l *lines) flush() error { return nil }

// columns are those of a table, in order.
var columns = []struct {
	name  string
	value func(*api.StoredEvent) string
}{
	{"event_timestamp", func(e *api.StoredEvent) string { return e.EventTimestamp.Format(receivedLayout) }},
	{"event_id", func(e *api.StoredEvent) string { return e.EventID.String() }},
	{"event_type", func(e *api.StoredEvent) string { return e.EventType }},
	{"event_category", func(e *api.StoredEvent) string { return e.EventCategory }},
	{"event_action", func(e *api.StoredEvent) string { return e.EventAction }},
	{"event_outcome", func(e *api.StoredEvent) string { return string(e.EventOutcome) }},
	{"correlation_id", func(e *api.StoredEvent) string { return e.CorrelationID }},
	{"namespace", func(e *api.StoredEvent) string { return e.Namespace }},
	{"resource_type", func(e *api.StoredEvent) string { return e.ResourceType }},
	{"resource_id", func(e *api.StoredEvent) string { return e.ResourceID }},
	{"resource_name", func(e *api.StoredEvent) string { return e.ResourceName }},
	{"actor_type", func(e *api.StoredEvent) string { return e.ActorType }},
	{"actor_id", func(e *api.StoredEvent) string { return e.ActorID }},
	{"duration_ms", milliseconds},
	{"error_code", func(e *api.StoredEvent) string { return e.ErrorCode }},
	{"error_message", func(e *api.StoredEvent) string { return e.ErrorMessage }},
	{"severity", func(e *api.StoredEvent) string { return e.Severity }},
	{"cluster_name", func(e *api.StoredEvent) string { return e.ClusterName }},
	{"parent_event_id", parentID},
	{"trace_id", func(e *api.StoredEvent) string { return e.TraceID }},
	{"span_id", func(e *api.StoredEvent) string { return e.SpanID }},
	{"version", func(e *api.StoredEvent) string { return e.Version }},
	{"received_at", func(e *api.StoredEvent) string { return e.ReceivedAt.Format(receivedLayout) }},
	{"digest", func(e *api.StoredEvent) string { return e.Digest }},
	{"event_data", func(e *api.StoredEvent) string { return string(bytes.TrimSpace(e.EventData)) }},
}

func milliseconds(e *api.StoredEvent) string {
	if e.DurationMS == nil {
		return ""
	}
	return strconv.FormatInt(*e.DurationMS, 10)
}

func parentID(e *api.StoredEvent) string {
	if e.ParentEventID == uuid.Nil {
		return ""
	}
	return e.ParentEventID.String()
}

// table writes records as CSV (RFC 4180), the names of the columns first.
type table struct {
	*csv.Writer
	row   []string
	begun bool
}

func newTable(to io.Writer) recordWriter {
	t := &table{Writer: csv.NewWriter(to), row: make([]string, len(columns))}
	t.UseCRLF = true
	return t
}

func (t *table) begin() error {
	if t.begun {
		return nil
	}
	t.begun = true
	for i, c := range columns {
		t.row[i] = c.name
	}
	return t.Write(t.row)
}

func (t *table) write(r Record) error {
	if err := t.begin(); err != nil {
		return err
	}
	e, err := r.Stored()
	if err != nil {
		return err
	}
	for i, c := range columns {
		t.row[i] = harmless(c.value(&e))
	}
	return t.Write(t.row)
}

func (t *table) flush() error {
	if err := t.begin(); err != nil {
		return err
	}
	t.Flush()
	return t.Error()
}

// formulas are the characters by which a spreadsheet knows a cell that it runs; the
// last four are wide forms of the first.
const formulas = "=+-@\t\r\n＝＋－＠"

// harmless writes a text so that a spreadsheet shows it and never runs it: behind an
// apostrophe. A text that has one already gets another, so that whoever takes the
// first one off always has the text.
func harmless(text string) string {
	first, _ := utf8.DecodeRuneInString(text)
	if text != "" && strings.ContainsRune(formulas+"'", first) {
		return "'" + text
	}
	return text
}
