package datastorage

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
)

// NoOverflow is for a service without Redis: while the trail is away, writes are
// refused.
type NoOverflow struct{}

var errNoOverflow = fmt.Errorf("parking is not configured: %w", ErrAway)

// Park always refuses.
func (NoOverflow) Park(context.Context, []audit.Sealed) error {
	return errNoOverflow
}

// Parked knows of nothing.
func (NoOverflow) Parked(context.Context, []uuid.UUID) (map[uuid.UUID]audit.Digest, error) {
	return nil, nil
}

// Each finds nothing.
func (NoOverflow) Each(context.Context, func(uuid.UUID, audit.Digest)) error { return nil }

// Count counts nothing.
func (NoOverflow) Count(context.Context) (waiting, poisoned int64, err error) { return 0, 0, nil }

// List lists nothing.
func (NoOverflow) List(context.Context, api.ParkedQueue, string, int) ([]api.ParkedEntry, error) {
	return nil, nil
}

// Find finds nothing.
func (NoOverflow) Find(context.Context, api.ParkedQueue, []string) ([]api.ParkedEntry, error) {
	return nil, nil
}

// Retry finds nothing.
func (NoOverflow) Retry(context.Context, []string) (int, error) { return 0, nil }

// Purge finds nothing.
func (NoOverflow) Purge(context.Context, api.ParkedQueue, []string) (int, error) { return 0, nil }
