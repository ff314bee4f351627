package overflow

import (
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/audit"
)

// FuzzEntry reads any fields as a parked event: it is refused, or it is one whose
// content has the digest that it is delivered with.
func FuzzEntry(f *testing.F) {
	f.Add("5e9c9e39-3a0e-5d65-9d0a-64b1f1b3d4c1", "{}", "user", "alice", "2026-03-01T12:00:00Z")
	f.Add("", "no JSON", "", "", "")
	content := `{"cluster_name":null,"correlation_id":"c","duration_ms":null,"error_code":null,"error_message":null,"event_action":"a","event_category":"a",` +
		`"event_data":{},"event_id":"5e9c9e39-3a0e-5d65-9d0a-64b1f1b3d4c1","event_outcome":"pending","event_timestamp":"2026-03-01T11:00:00.000000Z",` +
		`"event_type":"a","namespace":null,"parent_event_id":null,"resource_id":null,"resource_name":null,"resource_type":null,"severity":null,` +
		`"span_id":null,"trace_id":null,"version":"1"}`
	f.Add("5e9c9e39-3a0e-5d65-9d0a-64b1f1b3d4c1", content, "user", "alice", "2026-03-01T12:00:00.123456Z")
	f.Fuzz(func(t *testing.T, id, content, actorType, actorID, receivedAt string) {
		e, err := decode(map[string]any{"id": id, "content": content, "actor_type": actorType, "actor_id": actorID, "received_at": receivedAt})
		if err != nil {
			return
		}
		again, err := audit.Open(e.Content)
		if err != nil || string(e.Content) != content || again.Digest != e.Digest || e.Event.EventID.String() != id || e.ReceivedAt.Equal(time.Time{}) {
			t.Errorf("%q is read as %+v: %v", content, e, err)
		}
	})
}

// FuzzPlace takes any text as the place of an entry: only one entry is ever meant.
func FuzzPlace(f *testing.F) {
	for _, place := range []string{"1-1", "-", "+", "(1-1", "1", "1-1-1", "1772366400000-0", "+1-0", "1_0-0"} {
		f.Add(place)
	}
	f.Fuzz(func(t *testing.T, place string) {
		if _, err := placesOf([]string{place}); err != nil {
			return
		}
		for _, c := range place {
			if c != '-' && (c < '0' || c > '9') {
				t.Errorf("%q is taken as a place", place)
			}
		}
	})
}
