package datastorage

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
)

// note is what the service itself did for somebody, as an event of the trail.
type note struct {
	subject     uuid.UUID // what it was done to; the id of the event derives from it
	action      string    // such as "hold.placed"
	correlation string
	at          time.Time
	data        any
}

// noteSpace begins what the ids of the service's own events derive from.
const noteSpace = "datastorage"

// note records what the service did or is about to do. The same note again is the
// same event.
func (s *Server) note(ctx context.Context, who Caller, n note) error {
	data, err := json.Marshal(n.data)
	if err != nil {
		return fmt.Errorf("writing the audit event of %s: %w", n.action, err)
	}
	at := n.at.UTC().Truncate(time.Microsecond)
	sealed, err := audit.Seal(api.AuditEvent{
		EventID: audit.EventID(noteSpace+"/"+n.subject.String(), n.action), Version: "1",
		EventType: noteSpace + "." + n.action, EventCategory: noteSpace, EventAction: n.action,
		EventOutcome: api.EventOutcomeSuccess, EventTimestamp: at, CorrelationID: n.correlation,
		ActorType: who.Type, ActorID: who.ID, EventData: data,
	})
	if err != nil {
		return fmt.Errorf("the audit event of %s: %w", n.action, err)
	}
	sealed.ReceivedAt = s.now().UTC().Truncate(time.Microsecond)
	if _, err := s.recorder.record(ctx, []audit.Sealed{sealed}); err != nil {
		return fmt.Errorf("recording %s: %w", n.action, err)
	}
	return nil
}
