package datastorage

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/audit"
)

// guarded is a Trail that also knows the ids of what is parked: while an event is
// on its way through the overflow, its id names that event.
type guarded struct {
	Trail
	overflow Overflow
	memory   *memory
}

// Append refuses ids that name other parked events. An overflow that is away stops
// no write: then what this process remembers of it is asked.
func (g *guarded) Append(ctx context.Context, events []audit.Sealed) ([]bool, error) {
	if err := g.compare(ctx, events); err != nil {
		return nil, err
	}
	return g.Trail.Append(ctx, events)
}

func (g *guarded) compare(ctx context.Context, events []audit.Sealed) error {
	parked, err := g.overflow.Parked(ctx, idsOf(events))
	conflict := &ConflictError{}
	for i := range events {
		id, digest := events[i].Event.EventID, events[i].Digest
		if err == nil {
			if other, ok := parked[id]; ok && other != digest {
				conflict.IDs = append(conflict.IDs, id)
			}
			continue
		}
		switch g.memory.verdict(id, digest) {
		case other:
			conflict.IDs = append(conflict.IDs, id)
		case unknown:
			return fmt.Errorf("more events are parked than are remembered, and the overflow cannot be asked about %s: %w", id, ErrBusy)
		case free:
		}
	}
	return g.confirmed(ctx, conflict)
}

// confirmed is a conflict with what is parked, or nil. An id that the trail knows
// names what the trail has: it was parked with other content while nobody could know.
func (g *guarded) confirmed(ctx context.Context, conflict *ConflictError) error {
	if len(conflict.IDs) == 0 {
		return nil
	}
	missing, err := g.Missing(ctx, conflict.IDs)
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		return nil
	}
	return &ConflictError{IDs: missing}
}

func idsOf(events []audit.Sealed) []uuid.UUID {
	ids := make([]uuid.UUID, len(events))
	for i := range events {
		ids[i] = events[i].Event.EventID
	}
	return ids
}
