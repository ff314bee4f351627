package datastorage

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/audit"
)

const (
	askFor   = time.Second // how long the overflow may take to answer
	askAgain = time.Second // how long it is left alone when it did not
)

// guarded is a Trail that also knows the ids of what is parked: while an event is
// on its way through the overflow, its id names that event.
type guarded struct {
	Trail
	overflow Overflow
	memory   *memory

	silentUntil atomic.Int64 // Unix time in ns until which the overflow is not asked
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
	parked, asked := g.ask(ctx, events)
	conflict := &ConflictError{}
	for i := range events {
		id, digest := events[i].Event.EventID, events[i].Digest
		if asked {
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

// ask asks the overflow which of the events are parked, unless it did not answer
// just now.
func (g *guarded) ask(ctx context.Context, events []audit.Sealed) (parked map[uuid.UUID]audit.Digest, asked bool) {
	now := time.Now().UnixNano()
	if now < g.silentUntil.Load() {
		return nil, false
	}
	ids := make([]uuid.UUID, len(events))
	for i := range events {
		ids[i] = events[i].Event.EventID
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	parked, err := g.overflow.Parked(ctx, ids)
	if err != nil {
		g.silentUntil.Store(now + int64(askAgain))
		return nil, false
	}
	return parked, true
}
