package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

// PlaceHold keeps a hold, once.
func (s *Store) PlaceHold(ctx context.Context, h api.Hold) (kept api.Hold, placed bool, err error) {
	tag, err := s.pool.Exec(ctx, `
		INSERT INTO audit_holds (hold_id, correlation_id, reason, placed_by) VALUES ($1, $2, $3, $4)
		ON CONFLICT DO NOTHING`, h.HoldID, h.CorrelationID, h.Reason, orNull(&h.PlacedBy))
	if err != nil {
		return api.Hold{}, false, uncertainWrite("placing a hold", err)
	}
	kept, err = s.hold(ctx, h.HoldID)
	if err != nil {
		return api.Hold{}, false, err
	}
	if kept.CorrelationID != h.CorrelationID || kept.Reason != h.Reason || kept.PlacedBy != h.PlacedBy {
		return api.Hold{}, false, datastorage.ErrExists
	}
	return kept, tag.RowsAffected() == 1, nil
}

// ReleaseHold adds the release of a hold, unless it is there.
func (s *Store) ReleaseHold(ctx context.Context, id uuid.UUID, reason, by string) (api.Hold, error) {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO audit_hold_releases (hold_id, reason, released_by)
		SELECT hold_id, $2, $3 FROM audit_holds WHERE hold_id = $1
		ON CONFLICT DO NOTHING`, id, reason, orNull(&by))
	if err != nil {
		return api.Hold{}, uncertainWrite("releasing a hold", err)
	}
	return s.hold(ctx, id)
}

func (s *Store) hold(ctx context.Context, id uuid.UUID) (api.Hold, error) {
	holds, err := s.selectHolds(ctx, oneHold, id)
	if err == nil && len(holds) == 0 {
		return api.Hold{}, datastorage.ErrNotFound
	}
	if err != nil {
		return api.Hold{}, err
	}
	return holds[0], nil
}

// ListHolds returns holds, the newest first.
func (s *Store) ListHolds(ctx context.Context, correlationID string, released bool) ([]api.Hold, error) {
	return s.selectHolds(ctx, manyHolds, correlationID, released)
}

// Which holds are read.
const (
	oneHold   = "h.hold_id = $1"
	manyHolds = "($1 = '' OR h.correlation_id = $1) AND ($2 OR r.hold_id IS NULL)"
)

func holdsOf(condition string) string {
	return `
		SELECT h.hold_id, h.correlation_id, h.reason, h.placed_at, h.placed_by, r.released_at, r.released_by, r.reason
		FROM audit_holds h LEFT JOIN audit_hold_releases r USING (hold_id)
		WHERE ` + condition + `
		ORDER BY h.placed_at DESC, h.hold_id`
}

func (s *Store) selectHolds(ctx context.Context, condition string, args ...any) ([]api.Hold, error) {
	rows, err := s.pool.Query(ctx, holdsOf(condition), args...)
	if err != nil {
		return nil, classified("reading holds", err)
	}
	holds, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (api.Hold, error) {
		var h api.Hold
		var placedBy, releasedBy, releaseReason *string
		var releasedAt *time.Time
		err := row.Scan(&h.HoldID, &h.CorrelationID, &h.Reason, &h.PlacedAt, &placedBy, &releasedAt, &releasedBy, &releaseReason)
		h.PlacedAt = h.PlacedAt.UTC()
		h.PlacedBy, h.ReleasedBy, h.ReleaseReason = orEmpty(placedBy), orEmpty(releasedBy), orEmpty(releaseReason)
		if releasedAt != nil {
			h.ReleasedAt = releasedAt.UTC()
		}
		return h, err
	})
	return holds, classified("reading holds", err)
}

// uncertainWrite wraps the error of a statement that is its own transaction: unless
// the server refused it, it may have taken effect.
func uncertainWrite(doing string, err error) error {
	if err == nil {
		return nil
	}
	return uncertain(doing, err)
}
