package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"kubernaut.ai/kubernaut/test/servers"
)

// firstRows fills a database of the first version: an event in each of three months.
const firstRows = `
	INSERT INTO audit_epoch (epoch, system_identifier) SELECT 1, system_identifier FROM pg_control_system();
	SELECT audit_make_month(at) FROM generate_series('2026-01-31 23:59:59+00'::timestamptz, '2026-03-31 23:59:59+00', '1 month') AS at;
	INSERT INTO audit_event_id
		SELECT md5(n::text)::uuid, sha256(convert_to(n::text, 'UTF8')), '2026-01-15 12:00:00+00'::timestamptz + n * interval '1 day'
		FROM generate_series(0, 60) AS n;
	INSERT INTO audit_events (event_timestamp, event_id, epoch, received_at, version, event_type, event_category, event_action, event_outcome,
		correlation_id, event_data, content)
		SELECT event_timestamp, event_id, 1, event_timestamp, '1', 'test.done', 'test', 'done', 'success', 'case-1', '{"n": 1}', '{}'
		FROM audit_event_id`

// allRows is a digest of everything that the first version holds.
const allRows = `
	SELECT md5(string_agg(row, E'\n' ORDER BY row)) FROM (
		SELECT concat_ws(' ', i.event_id, i.digest, e.event_timestamp, e.epoch, e.xid, e.received_at, e.event_type, e.correlation_id, e.event_data, e.content) AS row
		FROM audit_event_id i JOIN audit_events e USING (event_id)) AS rows`

// TestMigrationsKeepWhatIsThere migrates, from every version that ever was, a database
// that has events in it.
func TestMigrationsKeepWhatIsThere(t *testing.T) {
	server := servers.StartPostgreSQL(t)
	for from := int64(1); from <= SchemaVersion; from++ {
		t.Run(fmt.Sprint("from ", from), func(t *testing.T) {
			url := server.Database()
			config, err := pgx.ParseConfig(url)
			check(t, err)
			config.RuntimeParams["timezone"] = "UTC"
			db := stdlib.OpenDB(*config)
			defer func() { _ = db.Close() }()
			provider, err := newProvider(db)
			check(t, err)
			_, err = provider.UpTo(t.Context(), 1)
			check(t, err)
			conn, err := pgx.ConnectConfig(t.Context(), config)
			check(t, err)
			defer func() { _ = conn.Close(context.Background()) }()
			check(t, execute(t.Context(), conn, firstRows))
			_, err = provider.UpTo(t.Context(), from)
			check(t, err)

			before := digest(t, conn)
			for range 2 { // the second time nothing is left to do
				check(t, Migrate(t.Context(), url, "service", slog.New(slog.DiscardHandler)))
			}
			if after := digest(t, conn); after != before {
				t.Errorf("the rows are %s, and were %s", after, before)
			}
			for table, want := range map[string]int{"audit_events": 61, "audit_epoch": 1} {
				var rows int
				check(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&rows))
				if rows != want {
					t.Errorf("%s has %d rows, want %d", table, rows, want)
				}
			}
		})
	}
}

func digest(t *testing.T, conn *pgx.Conn) (sum string) {
	t.Helper()
	check(t, conn.QueryRow(t.Context(), allRows).Scan(&sum))
	return sum
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
