package postgres

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"kubernaut.ai/kubernaut/internal/audit"
)

// manyEvents are events that are rather copied than inserted.
const manyEvents = 50

// claimAndCopy claims the ids that are free and copies their events.
func claimAndCopy(ctx context.Context, tx pgx.Tx, events []*audit.Sealed) (map[uuid.UUID]bool, error) {
	rows, err := tx.Query(ctx, `
		INSERT INTO audit_event_id (event_id, digest, event_timestamp)
		SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::timestamptz[])
		ON CONFLICT DO NOTHING
		RETURNING event_id, (SELECT max(epoch) FROM audit_epoch)`, columnsOf(events)[:3]...)
	if err != nil {
		return nil, err
	}
	claimed := make(map[uuid.UUID]bool, len(events))
	var id uuid.UUID
	var epoch int16
	if _, err := pgx.ForEachRow(rows, []any{&id, &epoch}, func() error { claimed[id] = true; return nil }); err != nil {
		return nil, err
	}
	if len(claimed) == 0 {
		return claimed, nil
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"audit_events"}, copiedColumns, &freshRows{events: events, claimed: claimed, epoch: epoch})
	return claimed, err
}

// copiedColumns are the columns of audit_events, in the order of freshRows.
var copiedColumns = []string{
	"event_id", "event_timestamp", "epoch", "received_at", "duration_ms", "parent_event_id", "version", "event_type", "event_category",
	"event_action", "event_outcome", "correlation_id", "actor_type", "actor_id", "resource_type", "resource_id", "resource_name", "namespace",
	"cluster_name", "severity", "trace_id", "span_id", "error_code", "error_message", "event_data", "content",
}

// freshRows are the rows of those events whose ids were claimed.
type freshRows struct {
	events  []*audit.Sealed
	claimed map[uuid.UUID]bool
	epoch   int16

	at *audit.Sealed
}

// Next goes to the next event that is new.
func (r *freshRows) Next() bool {
	for len(r.events) > 0 {
		r.at, r.events = r.events[0], r.events[1:]
		if r.claimed[r.at.Event.EventID] {
			return true
		}
	}
	return false
}

// Values is the row of the event.
func (r *freshRows) Values() ([]any, error) {
	e := &r.at.Event
	return []any{
		e.EventID, e.EventTimestamp, r.epoch, r.at.ReceivedAt, e.DurationMS, orNull(&e.ParentEventID), e.Version, e.EventType, e.EventCategory,
		e.EventAction, string(e.EventOutcome), e.CorrelationID, orNull(&e.ActorType), orNull(&e.ActorID), orNull(&e.ResourceType),
		orNull(&e.ResourceID), orNull(&e.ResourceName), orNull(&e.Namespace), orNull(&e.ClusterName), orNull(&e.Severity), orNull(&e.TraceID),
		orNull(&e.SpanID), orNull(&e.ErrorCode), orNull(&e.ErrorMessage), []byte(e.EventData), r.at.Content,
	}, nil
}

// Err is nil: the events are in memory.
func (r *freshRows) Err() error { return nil }
