package datastorage

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// Stored is the record as clients see it.
func (r Record) Stored() (api.StoredEvent, error) {
	var e api.StoredEvent
	if err := json.Unmarshal(r.Content, &e); err != nil {
		return e, fmt.Errorf("the content of a stored event: %w", err)
	}
	e.ActorType, e.ActorID, e.ReceivedAt, e.Digest = r.ActorType, r.ActorID, r.ReceivedAt, r.Digest.String()
	return e, nil
}

// receivedLayout writes a time to the microsecond, as the content has its own.
const receivedLayout = "2006-01-02T15:04:05.000000Z"

// appendLine writes the record as one line: its content, byte for byte, with the
// members that the server knows after it.
func (r Record) appendLine(b []byte) []byte {
	b = append(b, r.Content[:len(r.Content)-len("}")]...)
	b = appendMember(b, `,"actor_type":`, r.ActorType)
	b = appendMember(b, `,"actor_id":`, r.ActorID)
	b = append(append(b, `,"digest":"`...), r.Digest.String()...)
	b = r.ReceivedAt.AppendFormat(append(b, `","received_at":"`...), receivedLayout)
	return append(b, `"}`...)
}

func appendMember(b []byte, name, text string) []byte {
	b = append(b, name...)
	if text == "" {
		return append(b, "null"...)
	}
	b, _ = jsontext.AppendQuote(b, text) // from the database, so it is valid
	return b
}
