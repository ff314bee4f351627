package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"kubernaut.ai/kubernaut/internal/datastorage"
)

//go:embed migrations/*.sql
var migrations embed.FS

//go:embed grants.sql
var grants string

// ServiceRole is the role that the service logs in with. It owns nothing.
const ServiceRole = "kubernaut_service"

// migrationLock keeps two migrations of one database apart.
const migrationLock = 0x6b75626572 // "kuber"

// connectEvery is how often the server is tried that is not there yet.
const connectEvery = time.Second

// Migrate brings the schema to this program's version, creates or updates the
// service's role with the password, sets its rights, and makes the partitions of
// the months around now. url names the database, as its owner.
//
// Running it again changes nothing but the password. It refuses a schema that is
// newer than this program.
func Migrate(ctx context.Context, url, servicePassword string, log *slog.Logger) error {
	if servicePassword == "" {
		return errors.New("the password of the role " + ServiceRole + " is empty: set SERVICE_PASSWORD")
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("address of the database: %w", err)
	}
	config.RuntimeParams["timezone"] = "UTC"
	conn, err := connect(ctx, config, log)
	if err != nil {
		return fmt.Errorf("connecting as the owner of the database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // ends the lock, too
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return fmt.Errorf("waiting for another migration: %w", err)
	}
	if err := moveUp(ctx, config, log); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func(context.Context, *pgx.Conn) error
	}{
		{"marking the epoch", markEpoch},
		{"creating the role " + ServiceRole, func(ctx context.Context, c *pgx.Conn) error { return makeRole(ctx, c, servicePassword) }},
		{"setting the rights of " + ServiceRole, func(ctx context.Context, c *pgx.Conn) error { return execute(ctx, c, grants) }},
		{"making partitions", makeFirstMonths},
	} {
		if err := step.do(ctx, conn); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// connect waits for the server until ctx ends; what it refuses is not waited for.
func connect(ctx context.Context, config *pgx.ConnConfig, log *slog.Logger) (*pgx.Conn, error) {
	for {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err == nil || !errors.Is(withClass(err), datastorage.ErrAway) {
			return conn, err
		}
		log.Info("Database is not there yet", "error", err)
		select {
		case <-time.After(connectEvery):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w; the last answer: %w", context.Cause(ctx), err)
		}
	}
}

// moveUp applies the migrations that are not applied yet.
func moveUp(ctx context.Context, config *pgx.ConnConfig, log *slog.Logger) error {
	db := stdlib.OpenDB(*config)
	defer func() { _ = db.Close() }()
	provider, err := newProvider(db)
	if err != nil {
		return err
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	if current > target {
		return fmt.Errorf("the schema has version %d and this program knows %d: use a newer program", current, target)
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrating from version %d: %w", current, err)
	}
	for _, r := range results {
		log.Info("Migration applied", "migration", r.Source.Path, "took", r.Duration)
	}
	log.Info("Schema is up to date", "version", target)
	return nil
}

func newProvider(db *sql.DB) (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, dir)
}

// SchemaVersion is the version of the schema that this program works with.
var SchemaVersion = latestMigration()

func latestMigration() int64 {
	entries, err := migrations.ReadDir("migrations")
	if err != nil {
		panic(err) // the files are part of the program
	}
	version, err := goose.NumericComponent(entries[len(entries)-1].Name())
	if err != nil {
		panic(err)
	}
	return version
}

// markEpoch begins a new epoch when the database is in another cluster than before, or
// in the same one on another timeline: restored to a moment, or taken over by a standby.
// Who still writes in the epoch before is waited for, so that nothing comes into it when
// the feed is beyond it.
func markEpoch(ctx context.Context, conn *pgx.Conn) error {
	same := false
	err := conn.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM audit_epoch, pg_control_system() AS cluster
			WHERE epoch = (SELECT max(epoch) FROM audit_epoch)
				AND audit_epoch.system_identifier = cluster.system_identifier AND timeline = audit_timeline())`).Scan(&same)
	if err != nil || same {
		return err
	}
	return execute(ctx, conn, `
		BEGIN;
		LOCK TABLE audit_event_id IN SHARE MODE;
		INSERT INTO audit_epoch (epoch, system_identifier, timeline)
		SELECT coalesce((SELECT max(epoch) FROM audit_epoch), 0) + 1, system_identifier, audit_timeline()
		FROM pg_control_system();
		COMMIT`)
}

// makeRole creates the service's role or updates its password. The password is
// hashed by the server; it is written as a literal because DDL takes no parameters.
func makeRole(ctx context.Context, conn *pgx.Conn, password string) error {
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", ServiceRole).Scan(&exists); err != nil {
		return err
	}
	var statement string
	verb := map[bool]string{false: "CREATE", true: "ALTER"}[exists]
	err := conn.QueryRow(ctx, "SELECT format($1::text || ' ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD %L', $2::text, $3::text)",
		verb, ServiceRole, password).Scan(&statement)
	if err != nil {
		return err
	}
	return execute(ctx, conn, statement)
}

func makeFirstMonths(ctx context.Context, conn *pgx.Conn) error {
	return execute(ctx, conn, `
		SELECT audit_make_month(now() + make_interval(months => ahead)) FROM generate_series(-1, 3) AS ahead`)
}

// execute runs one or several statements without parameters.
func execute(ctx context.Context, conn *pgx.Conn, statements string) error {
	return conn.PgConn().Exec(ctx, statements).Close()
}
