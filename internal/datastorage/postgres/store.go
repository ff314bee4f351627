package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kubernaut.ai/kubernaut/internal/datastorage"
)

// Config is how the store uses the database. The zero value of a member means
// its default.
type Config struct {
	MaxConnections   int           // default 8
	ConnectTimeout   time.Duration // default 5s
	StatementTimeout time.Duration // default 10s
	LockTimeout      time.Duration // default 2s
}

func (c Config) withDefaults() Config {
	if c.MaxConnections == 0 {
		c.MaxConnections = 8
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	if c.StatementTimeout == 0 {
		c.StatementTimeout = 10 * time.Second
	}
	if c.LockTimeout == 0 {
		c.LockTimeout = 2 * time.Second
	}
	return c
}

// Store is the database. It connects when it is used, so it can be opened before
// the server is there.
type Store struct {
	pool   *pgxpool.Pool
	log    *slog.Logger
	config Config

	mu     sync.Mutex
	months map[string]bool // partitions known to exist, as "2026-01"
}

var (
	_ datastorage.Trail     = (*Store)(nil)
	_ datastorage.Reader    = (*Store)(nil)
	_ datastorage.Catalog   = (*Store)(nil)
	_ datastorage.Holds     = (*Store)(nil)
	_ datastorage.Retention = (*Store)(nil)
)

// Open prepares a store at url, as the service's role. It fails only when the
// url cannot be read.
func Open(url string, c Config, log *slog.Logger) (*Store, error) {
	c = c.withDefaults()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("address of the database: %w", err)
	}
	config.MaxConns = int32(c.MaxConnections)
	config.ConnConfig.ConnectTimeout = c.ConnectTimeout
	for name, value := range map[string]string{
		"application_name":                    "datastorage",
		"timezone":                            "UTC",
		"plan_cache_mode":                     "force_custom_plan", // a plan for one event is none for a thousand
		"max_parallel_workers_per_gather":     "0",                 // a request takes one processor, not all
		"jit":                                 "off",               // it costs more than any page
		"statement_timeout":                   milliseconds(c.StatementTimeout),
		"lock_timeout":                        milliseconds(c.LockTimeout),
		"idle_in_transaction_session_timeout": milliseconds(c.StatementTimeout),
	} {
		config.ConnConfig.RuntimeParams[name] = value
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	return &Store{pool: pool, log: log, config: c, months: map[string]bool{}}, nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// CloseTimeout is how long Close waits for what runs.
const CloseTimeout = 2 * time.Second

// Close waits for what runs, but not for long, and closes all connections.
func (s *Store) Close() {
	closed := make(chan struct{})
	go func() { s.pool.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(CloseTimeout):
		s.log.Warn("Connections to the database are left to end with the process", "used", s.pool.Stat().AcquiredConns())
	}
}

// Ready says why the store cannot be used, or nil.
func (s *Store) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.ConnectTimeout)
	defer cancel()
	var version int64
	err := s.pool.QueryRow(ctx, "SELECT max(version_id) FROM goose_db_version WHERE is_applied").Scan(&version)
	if err != nil {
		return fmt.Errorf("reading the schema's version (run `datastorage migrate` on a new database): %w", err)
	}
	if version != SchemaVersion {
		return fmt.Errorf("the schema has version %d, this program needs %d: run `datastorage migrate` of this program", version, SchemaVersion)
	}
	return nil
}

// Connections says how many connections are used, idle and allowed.
func (s *Store) Connections() (used, idle, limit int32) {
	stat := s.pool.Stat()
	return stat.AcquiredConns(), stat.IdleConns(), stat.MaxConns()
}

// bounded ends a ctx when the server has had time to be connected to and to answer: over
// a connection that has gone silent, nothing else does.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.config.StatementTimeout+s.config.ConnectTimeout)
}

// inTransaction runs do in a transaction. Nothing was kept when it returns an error,
// unless the error is of class ErrAway: then it is unknown.
func (s *Store) inTransaction(ctx context.Context, options pgx.TxOptions, do func(context.Context, pgx.Tx) error) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	tx, err := s.pool.BeginTx(ctx, options)
	if err != nil {
		return classified("beginning a transaction", err)
	}
	if err := do(ctx, tx); err != nil {
		_ = tx.Rollback(ctx) // a connection that cannot roll back is closed, which does
		return classified("in a transaction", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return uncertain("committing", err)
	}
	return nil
}
