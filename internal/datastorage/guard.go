package datastorage

import (
	"context"
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

	silentUntil atomic.Int64 // Unix time in ns until which the overflow is not asked
}

// Append refuses ids that name other parked events. An overflow that is away stops
// no write.
func (g *guarded) Append(ctx context.Context, events []audit.Sealed) ([]bool, error) {
	if err := g.compare(ctx, events); err != nil {
		return nil, err
	}
	return g.Trail.Append(ctx, events)
}

func (g *guarded) compare(ctx context.Context, events []audit.Sealed) error {
	now := time.Now().UnixNano()
	if now < g.silentUntil.Load() {
		return nil
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
		return nil
	}
	conflict := &ConflictError{}
	for i := range events {
		if digest, ok := parked[ids[i]]; ok && digest != events[i].Digest {
			conflict.IDs = append(conflict.IDs, ids[i])
		}
	}
	if len(conflict.IDs) > 0 {
		return conflict
	}
	return nil
}
