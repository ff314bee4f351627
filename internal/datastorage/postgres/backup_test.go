package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
	"kubernaut.ai/kubernaut/test/servers"
)

// sameDatabase is the address of a database of the same name on another server.
func sameDatabase(t *testing.T, url string, on *servers.Postgres) string {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	must(t, err)
	return on.URL(config.User, config.Password, config.Database)
}

// contents is all that a database of ours holds of events, in text.
func (f fixture) contents(t *testing.T) []string {
	t.Helper()
	rows, err := f.owner.Query(t.Context(), `
		SELECT concat_ws(' ', i.event_id, encode(i.digest, 'hex'), e.event_timestamp, convert_from(e.content, 'UTF8'), e.actor_id, e.received_at)
		FROM audit_event_id i LEFT JOIN audit_events e USING (event_id) ORDER BY i.event_id`)
	must(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	return lines
}

// TestBackupByDump dumps a database that somebody reads page by page, restores it in
// another cluster as docs/backup.md says, and goes on there.
func TestBackupByDump(t *testing.T) {
	server, other := servers.StartPostgreSQL(t), servers.StartPostgreSQL(t)
	url := server.Database()
	must(t, postgres.Migrate(t.Context(), url, password, slog.New(slog.DiscardHandler)))
	f := newFixture(t, url)
	for n := range 5 {
		_, err := f.Append(t.Context(), []audit.Sealed{event(t, n, full)})
		must(t, err)
	}
	page, err := f.Query(t.Context(), datastorage.Query{Limit: 2})
	must(t, err)

	config := f.owner.Config()
	file := filepath.Join(servers.Folder(t), "kubernaut.dump")
	server.Run("pg_dump", "--format=custom", "--file="+file, config.Database)
	restored := other.Database()
	into, err := pgx.ParseConfig(restored)
	must(t, err)
	other.Run("psql", "--quiet", "--set=ON_ERROR_STOP=1", "--command=CREATE ROLE kubernaut_service", into.Database)
	other.Run("pg_restore", "--exit-on-error", "--single-transaction", "--dbname="+into.Database, file)
	must(t, postgres.Migrate(t.Context(), restored, password, slog.New(slog.DiscardHandler)))

	g := newFixture(t, restored)
	if diff := cmp.Diff(f.contents(t), g.contents(t)); diff != "" {
		t.Errorf("restored (-was +is):\n%s", diff)
	}
	fresh, err := g.Append(t.Context(), []audit.Sealed{event(t, 4, full), event(t, 9)})
	must(t, err)
	if fresh[0] || !fresh[1] {
		t.Errorf("fresh is %v, want what is restored known", fresh)
	}
	_, err = g.Append(t.Context(), []audit.Sealed{event(t, 1)})
	wantConflict(t, err, event(t, 1).Event.EventID)
	rest, err := g.Query(t.Context(), datastorage.Query{Limit: 10, After: page.Next})
	must(t, err)
	if len(rest.Events) != 3 {
		t.Errorf("a cursor from before the dump reads %d more events, want 3", len(rest.Events))
	}
	g.cannotChange(t)
}

// TestRestoreToAMoment archives the log continuously, as docs/backup.md says, takes a
// base backup while events come, and restores to a moment after it.
func TestRestoreToAMoment(t *testing.T) {
	archive, base := servers.Folder(t), filepath.Join(servers.Folder(t), "base")
	server := servers.StartPostgreSQL(t, "wal_level=replica", "archive_mode=on", "archive_timeout=60",
		fmt.Sprintf("archive_command=test ! -f %[1]s/%%f && cp %%p %[1]s/.%%f && mv %[1]s/.%%f %[1]s/%%f", archive))
	url := server.Database()
	must(t, postgres.Migrate(t.Context(), url, password, slog.New(slog.DiscardHandler)))
	f := newFixture(t, url)
	record := func(n int) {
		t.Helper()
		_, err := f.Append(t.Context(), []audit.Sealed{event(t, n, full)})
		must(t, err)
	}
	record(1)
	server.Run("pg_basebackup", "--pgdata="+base, "--checkpoint=fast", "--wal-method=stream")
	record(2)
	want := f.contents(t)
	moment := f.afterNow(t)
	record(3)
	for range 1000 { // transactions, more than there are after the restore
		_, err := f.owner.Exec(t.Context(), "SELECT pg_current_xact_id()")
		must(t, err)
	}
	follower := &datastorage.Position{}
	follower = f.follow(t, follower, event(t, 1), event(t, 2), event(t, 3))
	_, _, err := f.PlaceHold(t.Context(), holdOf("case-1"))
	must(t, err)
	f.awaitArchived(t)
	server.Kill() // and its disk is lost

	restored := servers.RestorePostgreSQL(t, base, "archive_mode=off", "restore_command=cp "+archive+"/%f %p",
		"recovery_target_time="+moment, "recovery_target_action=promote", "recovery_target_inclusive=off")
	back := sameDatabase(t, url, restored)
	awaitPromoted(t, back)
	must(t, postgres.Migrate(t.Context(), back, password, slog.New(slog.DiscardHandler)))
	g := newFixture(t, back)
	if diff := cmp.Diff(want, g.contents(t)); diff != "" {
		t.Errorf("at the moment (-was +is):\n%s", diff)
	}
	// Whoever has kept what came after the moment records it again.
	fresh, err := g.Append(t.Context(), []audit.Sealed{event(t, 2, full), event(t, 3, full)})
	must(t, err)
	if fresh[0] || !fresh[1] {
		t.Errorf("fresh is %v, want the third new", fresh)
	}
	// Transactions are counted anew from the moment on; who followed the trail before
	// misses nothing all the same.
	_, err = g.Append(t.Context(), []audit.Sealed{event(t, 4, full)})
	must(t, err)
	g.follow(t, follower, event(t, 3), event(t, 4))
}

// afterNow returns a moment that is over by the server's clock when it returns.
func (f fixture) afterNow(t *testing.T) (moment string) {
	t.Helper()
	must(t, f.owner.QueryRow(t.Context(), "SELECT clock_timestamp()::text").Scan(&moment))
	for over := false; !over; {
		must(t, f.owner.QueryRow(t.Context(), "SELECT clock_timestamp() > $1::text::timestamptz", moment).Scan(&over))
	}
	return moment
}

// follow reads the feed behind a position to its end, where these events come and no
// others, and returns where that is.
func (f fixture) follow(t *testing.T, after *datastorage.Position, want ...audit.Sealed) *datastorage.Position {
	t.Helper()
	var expected, got []string
	for _, e := range want {
		expected = append(expected, e.Event.EventID.String())
	}
	for caughtUp := false; !caughtUp; {
		batch, err := f.Feed(t.Context(), datastorage.Filter{}, after)
		must(t, err)
		for _, e := range batch.Events {
			got = append(got, e.EventID.String())
		}
		after, caughtUp = &batch.Next, batch.CaughtUp
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("the feed (-want +got):\n%s", diff)
	}
	return after
}

func holdOf(correlation string) (h api.Hold) {
	h.HoldID, h.CorrelationID, h.Reason = audit.EventID("hold", correlation), correlation, "court"
	return h
}

// awaitArchived ends the log that is written and waits until it is in the archive.
func (f fixture) awaitArchived(t *testing.T) {
	t.Helper()
	var segment string
	must(t, f.owner.QueryRow(t.Context(), "SELECT pg_walfile_name(pg_switch_wal())").Scan(&segment))
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		var archived *string
		must(t, f.owner.QueryRow(t.Context(), "SELECT last_archived_wal FROM pg_stat_archiver").Scan(&archived))
		if archived != nil && *archived >= segment {
			return
		}
	}
	t.Fatalf("%s is not archived after a minute", segment)
}

func awaitPromoted(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		recovering := true
		must(t, conn.QueryRow(t.Context(), "SELECT pg_is_in_recovery()").Scan(&recovering))
		if !recovering {
			return
		}
	}
	t.Fatal("the server still recovers after a minute")
}
