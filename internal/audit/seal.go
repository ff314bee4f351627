package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// timeLayout writes a time to the microsecond, always with six digits.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// FieldError is an error about one member of an event.
type FieldError struct {
	Field   string // such as "event_data/steps/0"
	Message string
}

func (e *FieldError) Error() string { return e.Field + " " + e.Message }

// Seal fixes the content of an event and takes its digest.
//
// The content is one JSON object in canonical form (RFC 8785) that has every
// member of the contract but actor_type and actor_id, which the server decides:
// an absent one is null, a time is in UTC with six digits of the second, and
// event_data is canonical too. The error is a *FieldError.
func Seal(e Event) (Sealed, error) {
	if e.EventID == uuid.Nil {
		return Sealed{}, &FieldError{"event_id", "is required"}
	}
	data, err := canonicalData(e.EventData)
	if err != nil {
		return Sealed{}, err
	}
	e.EventData = data
	e.EventTimestamp = e.EventTimestamp.UTC().Truncate(time.Microsecond)
	content := appendContent(make([]byte, 0, 640+len(data)), &e)
	return Sealed{Event: e, Content: content, Digest: sha256.Sum256(content)}, nil
}

// Open reads the content of a sealed event back. The result has no actor and no
// time of receipt, for these are not content.
func Open(content []byte) (Sealed, error) {
	var e Event
	if err := json.Unmarshal(content, &e, json.RejectUnknownMembers(true)); err != nil {
		return Sealed{}, fmt.Errorf("reading the content of an event: %w", err)
	}
	s, err := Seal(e)
	if err != nil {
		return Sealed{}, err
	}
	if !bytes.Equal(s.Content, content) {
		return Sealed{}, errors.New("the content of the event is not in canonical form")
	}
	return s, nil
}

// appendContent writes the members in the order of RFC 8785, which is
// alphabetical for names like ours.
func appendContent(b []byte, e *Event) []byte {
	b = appendText(b, `{"cluster_name":`, e.ClusterName)
	b = appendText(b, `,"correlation_id":`, e.CorrelationID)
	b = append(b, `,"duration_ms":`...)
	if e.DurationMS == nil {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendInt(b, *e.DurationMS, 10)
	}
	b = appendText(b, `,"error_code":`, e.ErrorCode)
	b = appendText(b, `,"error_message":`, e.ErrorMessage)
	b = appendText(b, `,"event_action":`, e.EventAction)
	b = appendText(b, `,"event_category":`, e.EventCategory)
	b = append(append(b, `,"event_data":`...), e.EventData...)
	b = appendText(b, `,"event_id":`, e.EventID.String())
	b = appendText(b, `,"event_outcome":`, string(e.EventOutcome))
	b = appendText(b, `,"event_timestamp":`, e.EventTimestamp.Format(timeLayout))
	b = appendText(b, `,"event_type":`, e.EventType)
	b = appendText(b, `,"namespace":`, e.Namespace)
	parent := ""
	if e.ParentEventID != uuid.Nil {
		parent = e.ParentEventID.String()
	}
	b = appendText(b, `,"parent_event_id":`, parent)
	b = appendText(b, `,"resource_id":`, e.ResourceID)
	b = appendText(b, `,"resource_name":`, e.ResourceName)
	b = appendText(b, `,"resource_type":`, e.ResourceType)
	b = appendText(b, `,"severity":`, e.Severity)
	b = appendText(b, `,"span_id":`, e.SpanID)
	b = appendText(b, `,"trace_id":`, e.TraceID)
	b = appendText(b, `,"version":`, e.Version)
	return append(b, '}')
}

func appendText(b []byte, name, text string) []byte {
	b = append(b, name...)
	if text == "" {
		return append(b, "null"...)
	}
	b, _ = jsontext.AppendQuote(b, strings.ToValidUTF8(text, "\uFFFD")) // valid, so no error
	return b
}

// canonicalData returns event_data in canonical form, or says why it has none
// that keeps every value.
func canonicalData(raw []byte) ([]byte, error) {
	if len(raw) == 0 {
		return nil, &FieldError{"event_data", "is required"}
	}
	if err := readableData(raw); err != nil {
		return nil, err
	}
	data := jsontext.Value(bytes.Clone(raw))
	if err := data.Canonicalize(); err != nil {
		return nil, syntaxError(err)
	}
	if len(data) > MaxDataBytes {
		return nil, &FieldError{"event_data", fmt.Sprintf("is longer than %d bytes", MaxDataBytes)}
	}
	return data, nil
}

// readableData reads event_data token by token.
func readableData(raw []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	if dec.PeekKind() != jsontext.KindBeginObject {
		return &FieldError{"event_data", "must be an object"}
	}
	for {
		token, err := dec.ReadToken()
		if err != nil {
			return syntaxError(err)
		}
		if message := objection(token, dec.StackDepth()); message != "" {
			return &FieldError{"event_data" + string(dec.StackPointer()), message}
		}
		if dec.StackDepth() == 0 {
			return nil
		}
	}
}

// objection says what speaks against one token, if anything.
func objection(token jsontext.Token, depth int) string {
	switch token.Kind() {
	case jsontext.KindString:
		if text := token.String(); strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
			return "contains the character U+0000, which the database cannot keep"
		}
	case jsontext.KindNumber:
		if !isDouble(token.String()) {
			return "is a number that an IEEE 754 double cannot carry: send it as a string"
		}
	}
	if depth > MaxDataDepth {
		return fmt.Sprintf("is nested deeper than %d", MaxDataDepth)
	}
	return ""
}

func syntaxError(err error) error {
	var s *jsontext.SyntacticError
	if errors.As(err, &s) {
		return &FieldError{"event_data" + string(s.JSONPointer), "is not valid JSON: " + s.Err.Error()}
	}
	return &FieldError{"event_data", "is not valid JSON: " + err.Error()}
}
