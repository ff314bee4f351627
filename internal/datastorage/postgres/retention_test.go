package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

const march = "2026-03" // the month of noon

func (f fixture) run(t *testing.T) uuid.UUID {
	t.Helper()
	id := uuid.New()
	begun, err := f.BeginRetention(t.Context(), id, "tester", 0)
	must(t, err)
	if !begun {
		t.Fatal("the run has not begun")
	}
	return id
}

// seedRetention keeps events 1 to 4: 2 is a failure, 3 is in a namespace, 4 is of another case.
func (f fixture) seedRetention(t *testing.T) {
	t.Helper()
	_, err := f.Append(t.Context(), []audit.Sealed{
		event(t, 1),
		event(t, 2, func(e *audit.Event) { e.EventOutcome = api.EventOutcomeFailure }),
		event(t, 3, func(e *audit.Event) { e.Namespace = "payment" }),
		event(t, 4, func(e *audit.Event) { e.CorrelationID = "case-2" }),
	})
	must(t, err)
}

// firstPolicyDecides tries policies on the four events.
func firstPolicyDecides(t *testing.T, f fixture) {
	f.seedRetention(t)
	const ever = 100_000
	for why, c := range map[string]struct {
		policies []api.RetentionPolicy
		expired  int64
	}{
		"no policy keeps all":         {nil, 0},
		"all that is old":             {[]api.RetentionPolicy{{KeepDays: 30}}, 4},
		"nothing is that old":         {[]api.RetentionPolicy{{KeepDays: ever}}, 0},
		"failures are kept longer":    {[]api.RetentionPolicy{{Outcome: "failure", KeepDays: ever}, {KeepDays: 30}}, 3},
		"the first decides":           {[]api.RetentionPolicy{{KeepDays: 30}, {Outcome: "failure", KeepDays: ever}}, 4},
		"of one namespace":            {[]api.RetentionPolicy{{Namespace: "payment", KeepDays: 30}}, 1},
		"of no such category":         {[]api.RetentionPolicy{{Category: "te", KeepDays: 30}}, 0},
		"all members together":        {[]api.RetentionPolicy{{Category: "test", Outcome: "success", Namespace: "payment", KeepDays: 30}}, 1},
		"what looks like SQL is text": {[]api.RetentionPolicy{{Namespace: "x' OR true --", KeepDays: 30}}, 0},
	} {
		months, err := f.PlanRetention(t.Context(), c.policies)
		must(t, err)
		for _, m := range months {
			if m.Month == march && (m.Events != 4 || m.Expired != c.expired || m.Whole != (c.expired == 4)) {
				t.Errorf("%s: %+v, want %d expired", why, m, c.expired)
			}
		}
	}
}

// tooShort asks to keep events shorter than the owner of the schema allows.
func tooShort(t *testing.T, f fixture) {
	f.seedRetention(t)
	refused := func(days int) {
		t.Helper()
		_, _, err := f.ApplyRetention(t.Context(), f.run(t), []api.RetentionPolicy{{KeepDays: days}}, march)
		if !errors.Is(err, datastorage.ErrUnfit) {
			t.Errorf("to keep %d days: %v, want a refusal", days, err)
		}
	}
	refused(7)
	_, err := f.owner.Exec(t.Context(), "UPDATE audit_retention_floor SET keep_days = 365")
	must(t, err)
	refused(364)
	if got := f.number(t, "SELECT count(*) FROM audit_events"); got != 4 {
		t.Errorf("%d events, want 4", got)
	}
}

// heldLater holds a case and then records more of it.
func heldLater(t *testing.T, f fixture) {
	f.seedRetention(t)
	hold, _, err := f.PlaceHold(t.Context(), api.Hold{HoldID: uuid.New(), CorrelationID: "case-2", Reason: "court"})
	must(t, err)
	_, err = f.Append(t.Context(), []audit.Sealed{event(t, 5, func(e *audit.Event) { e.CorrelationID = "case-2" })})
	must(t, err)
	policies := []api.RetentionPolicy{{KeepDays: 30}}
	apply := func(want int64, wantWhole bool) {
		t.Helper()
		events, whole, err := f.ApplyRetention(t.Context(), f.run(t), policies, march)
		must(t, err)
		if events != want || whole != wantWhole {
			t.Errorf("%d removed, whole %v; want %d, %v", events, whole, want, wantWhole)
		}
	}
	apply(3, false)
	apply(0, false)
	left, err := f.Query(t.Context(), datastorage.Query{Limit: 10, Ascending: true})
	must(t, err)
	if diff := cmp.Diff([]uuid.UUID{event(t, 4).Event.EventID, event(t, 5).Event.EventID}, ids(left)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	_, err = f.ReleaseHold(t.Context(), hold.HoldID, "closed", "tester")
	must(t, err)
	apply(2, true)
	if got := f.number(t, "SELECT count(*) FROM pg_inherits WHERE inhrelid = to_regclass('audit_events_202603')"); got != 0 {
		t.Error("the partition is still there")
	}
	if got := f.number(t, "SELECT count(*) FROM audit_event_id"); got != 5 {
		t.Errorf("%d ids are left, want all 5", got)
	}
	fresh, err := f.Append(t.Context(), []audit.Sealed{event(t, 1), event(t, 6)})
	must(t, err)
	if fresh[0] || !fresh[1] {
		t.Errorf("fresh is %v: what was removed keeps its id, and the month comes again", fresh)
	}
	if got := f.number(t, "SELECT sum(events) FROM audit_retention_log"); got != 5 {
		t.Errorf("%d removed by the log, want 5", got)
	}
}

// largeMonth removes more than fits into one transaction.
func largeMonth(t *testing.T, f fixture) {
	kept := event(t, 0, func(e *audit.Event) { e.Severity = "high"; e.EventCategory = "kept" })
	_, err := f.Append(t.Context(), []audit.Sealed{kept})
	must(t, err)
	_, err = f.owner.Exec(t.Context(), `
		INSERT INTO audit_events SELECT event_timestamp + n * interval '1 second', gen_random_uuid(), epoch, xid, received_at, duration_ms,
			parent_event_id, version, event_type, 'test', event_action, event_outcome, correlation_id, actor_type, actor_id, resource_type,
			resource_id, resource_name, namespace, cluster_name, severity, trace_id, span_id, error_code, error_message, event_data, content
		FROM audit_events, generate_series(1, 25000) AS n`)
	must(t, err)
	events, whole, err := f.ApplyRetention(t.Context(), f.run(t), []api.RetentionPolicy{{Category: "test", KeepDays: 30}}, march)
	must(t, err)
	if events != 25_000 || whole || f.number(t, "SELECT count(*) FROM audit_events") != 1 {
		t.Errorf("%d removed, whole %v", events, whole)
	}
}

// retentionUnderReader must not wait for a long reader, nor make others wait for it.
func retentionUnderReader(t *testing.T, f fixture) {
	f.seedRetention(t)
	policies, run := []api.RetentionPolicy{{KeepDays: 30}}, f.run(t)
	must(t, pgx.BeginFunc(t.Context(), f.owner, func(reader pgx.Tx) error {
		if _, err := reader.Exec(t.Context(), "SELECT * FROM audit_events"); err != nil {
			return err
		}
		if _, _, err := f.ApplyRetention(t.Context(), run, policies, march); !errors.Is(err, datastorage.ErrBusy) {
			t.Errorf("under a reader: %v, want ErrBusy", err)
		}
		_, err := f.Append(t.Context(), []audit.Sealed{event(t, 9, func(e *audit.Event) { e.CorrelationID = "late" })})
		return err
	}))
	events, whole, err := f.ApplyRetention(t.Context(), run, policies, march)
	must(t, err)
	if events != 5 || !whole {
		t.Errorf("%d removed, whole %v", events, whole)
	}
}

// retentionBesideWriters cleans a month that events come into, and a past one of which
// something stays, and leaves the transaction open: nobody who records waits for it.
func retentionBesideWriters(t *testing.T, f fixture) {
	f.seedRetention(t)
	now := time.Now().UTC().Truncate(time.Microsecond)
	expired := now.AddDate(0, 0, -8).Add(-time.Minute) // by the shortest policy there can be, in a month that is not past
	recent := func(at time.Time) func(*audit.Event) {
		return func(e *audit.Event) { e.EventTimestamp, e.CorrelationID = at, "recent" }
	}
	_, err := f.Append(t.Context(), []audit.Sealed{event(t, 10, recent(expired))})
	must(t, err)
	run := f.run(t)
	for n, c := range []struct {
		at       time.Time
		policies string
		late     time.Time
	}{
		{expired, `[{"keep_days": 8}]`, expired.Add(time.Second)},
		{noon, `[{"outcome": "failure", "keep_days": 30}]`, noon},
	} {
		must(t, pgx.BeginFunc(t.Context(), f.owner, func(cleaning pgx.Tx) error {
			var removed int
			var whole bool
			err := cleaning.QueryRow(t.Context(), "SELECT removed, whole FROM audit_retention_apply($1, $2, $3)", run, c.policies, c.at).Scan(&removed, &whole)
			if err != nil || removed != 1 || whole {
				t.Errorf("of the month of %s: %d removed, whole %v, %v; want 1", c.at, removed, whole, err)
			}
			if _, err := f.Append(t.Context(), []audit.Sealed{event(t, 20+n, recent(c.late))}); err != nil {
				t.Errorf("recording while the month of %s is cleaned: %v", c.at, err)
			}
			return err
		}))
	}
	if got := f.number(t, "SELECT count(*) FROM audit_events WHERE correlation_id = 'recent'"); got != 2 {
		t.Errorf("%d events are left of what came meanwhile, want 2", got)
	}
}

// holdsAgainstRetention places holds while retention runs: what was held before it
// was removed must be there afterwards.
func holdsAgainstRetention(t *testing.T, f fixture) {
	const cases = 40
	var all []audit.Sealed
	for n := range cases {
		all = append(all, event(t, n, func(e *audit.Event) { e.CorrelationID = fmt.Sprint("case-", n) }))
	}
	_, err := f.Append(t.Context(), all)
	must(t, err)
	run := f.run(t)
	var running sync.WaitGroup
	held := make([]bool, cases) // by a hold that stood while the event was there
	for n := range cases {
		running.Go(func() {
			_, _, err := f.PlaceHold(context.Background(), api.Hold{HoldID: uuid.New(), CorrelationID: fmt.Sprint("case-", n), Reason: "court"})
			if err != nil && !errors.Is(err, datastorage.ErrBusy) {
				t.Error(err)
			}
			held[n] = err == nil && f.ofCase(t, n) == 1
		})
		if n == cases/2 {
			running.Go(func() {
				if _, _, err := f.ApplyRetention(context.Background(), run, []api.RetentionPolicy{{KeepDays: 30}}, march); err != nil && !errors.Is(err, datastorage.ErrBusy) {
					t.Error(err)
				}
			})
		}
	}
	running.Wait()
	for n := range cases {
		if held[n] && f.ofCase(t, n) != 1 {
			t.Errorf("case-%d was held and is gone", n)
		}
	}
}

// ofCase counts the events of a case, over a connection of its own.
func (f fixture) ofCase(t *testing.T, n int) (events int) {
	conn, err := pgx.ConnectConfig(t.Context(), f.owner.Config())
	if err != nil {
		t.Error(err)
		return 0
	}
	defer func() { _ = conn.Close(context.Background()) }()
	err = conn.QueryRow(t.Context(), "SELECT count(*) FROM audit_events WHERE correlation_id = $1", fmt.Sprint("case-", n)).Scan(&events)
	if err != nil {
		t.Error(err)
	}
	return events
}

// oneRun lets only one of several replicas begin a run that is due.
func oneRun(t *testing.T, f fixture) {
	begun := make(chan bool, 8)
	var running sync.WaitGroup
	for range cap(begun) {
		running.Go(func() {
			is, err := f.BeginRetention(context.Background(), uuid.New(), "", time.Hour)
			if err != nil {
				t.Error(err)
			}
			begun <- is
		})
	}
	running.Wait()
	close(begun)
	number := 0
	for is := range begun {
		if is {
			number++
		}
	}
	if number != 1 {
		t.Errorf("%d runs have begun, want 1", number)
	}
}

// retentionKeepsItsLog tries, as the service, to remove more than may go, and to
// write or change what was removed, held or run.
func retentionKeepsItsLog(t *testing.T, f fixture) {
	service, err := pgx.Connect(t.Context(), f.url)
	must(t, err)
	defer func() { _ = service.Close(context.Background()) }()
	for _, sql := range []string{
		"INSERT INTO audit_retention_log (run_id, month, events, whole, policies) VALUES (gen_random_uuid(), now(), 1, true, '[]')",
		"UPDATE audit_retention_floor SET keep_days = 8", "DELETE FROM audit_retention_log", "DELETE FROM audit_holds",
		"DELETE FROM audit_hold_releases", "UPDATE audit_holds SET correlation_id = 'x'", "UPDATE audit_hold_releases SET reason = 'x'",
		"INSERT INTO audit_holds (hold_id, correlation_id, reason, placed_at) VALUES (gen_random_uuid(), 'x', 'x', '2020-01-01')",
		"INSERT INTO audit_retention_runs (run_id, began_at) VALUES (gen_random_uuid(), '2020-01-01')",
		"TRUNCATE audit_retention_runs", "SELECT audit_expired('[]')", "DROP VIEW audit_held",
	} {
		_, err := service.Exec(t.Context(), sql)
		if answer, ok := errors.AsType[*pgconn.PgError](err); !ok || answer.Code != "42501" {
			t.Errorf("%s: %v, want permission denied", sql, err)
		}
	}
	if _, err := service.Exec(t.Context(), `SELECT audit_retention_apply(gen_random_uuid(), '[{"keep_days": 30}]', now())`); err != nil {
		t.Errorf("a month with nothing to remove: %v", err) // no log, so no run is needed
	}
	if got := f.number(t, "SELECT count(*) FROM pg_inherits WHERE inhrelid = to_regclass('audit_events_' || to_char(now(), 'YYYYMM'))"); got != 1 {
		t.Error("the partition of this month is gone")
	}
}
