package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

const (
	retentionTimeout = 30 * time.Minute // of one statement, which reads a whole month
	retentionChunk   = 10_000           // events that audit_retention_apply removes at once
	retentionLock    = 0x7265746169     // "retai"
)

// BeginRetention notes a run, unless another began less than since ago.
func (s *Store) BeginRetention(ctx context.Context, run uuid.UUID, by string, since time.Duration) (begun bool, err error) {
	err = s.inTransaction(ctx, pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(retentionLock)); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			INSERT INTO audit_retention_runs (run_id, begun_by)
			SELECT $1, $2
			WHERE NOT EXISTS (SELECT FROM audit_retention_runs WHERE began_at > now() - $3::interval)`, run, orNull(&by), since)
		begun = tag.RowsAffected() == 1
		return err
	})
	return begun && err == nil, err
}

// PlanRetention says what policies would remove, month by month.
func (s *Store) PlanRetention(ctx context.Context, policies []api.RetentionPolicy) (months []api.RetentionMonth, err error) {
	err = s.patiently(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT to_char(month, 'YYYY-MM'), events, expired, held, whole FROM audit_retention_plan($1) ORDER BY month", list(policies))
		if err != nil {
			return err
		}
		months, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (m api.RetentionMonth, err error) {
			err = row.Scan(&m.Month, &m.Events, &m.Expired, &m.Held, &m.Whole)
			return m, err
		})
		return err
	})
	return months, err
}

// ApplyRetention removes what goes of one month, in as many transactions as it takes.
func (s *Store) ApplyRetention(ctx context.Context, run uuid.UUID, policies []api.RetentionPolicy, month string) (events int64, whole bool, err error) {
	at, err := time.Parse(monthsFormat, month)
	if err != nil {
		return 0, false, fmt.Errorf("month of retention: %w", err)
	}
	for {
		var removed int64
		err := s.patiently(ctx, pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, "SELECT removed, whole FROM audit_retention_apply($1, $2, $3)", run, list(policies), at).Scan(&removed, &whole)
		})
		if err != nil {
			return events, false, err
		}
		events += removed
		if whole || removed < retentionChunk {
			return events, whole, nil
		}
	}
}

// patiently runs do in a transaction that may take long.
func (s *Store) patiently(ctx context.Context, options pgx.TxOptions, do func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, retentionTimeout)
	defer cancel()
	tx, err := s.pool.BeginTx(ctx, options)
	if err != nil {
		return classified("beginning a transaction", err)
	}
	_, err = tx.Exec(ctx, "SELECT set_config('statement_timeout', $1, true)", milliseconds(retentionTimeout))
	if err == nil {
		err = do(ctx, tx)
	}
	if err != nil {
		_ = tx.Rollback(ctx) // a connection that cannot roll back is closed, which does
		return classified("applying retention", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return uncertain("committing", err)
	}
	return nil
}

// list is a slice that is written as [] and never as null.
func list[T any](values []T) []T {
	if values == nil {
		return []T{}
	}
	return values
}
