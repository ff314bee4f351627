package datastorage

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/audit"
)

// NoOverflow is for a service without Redis: while the trail is away, writes are
// refused.
type NoOverflow struct{}

// Park always refuses.
func (NoOverflow) Park(context.Context, []audit.Sealed) error {
	return fmt.Errorf("parking is not configured: %w", ErrAway)
}

// Parked knows of nothing.
func (NoOverflow) Parked(context.Context, []uuid.UUID) (map[uuid.UUID]audit.Digest, error) {
	return nil, nil
}
