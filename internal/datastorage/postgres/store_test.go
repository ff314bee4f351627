package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
	"kubernaut.ai/kubernaut/test/servers"
)

const password = `it's "quoted" \ %I`

// fixture is a migrated database of a test's own.
type fixture struct {
	*postgres.Store
	owner *pgx.Conn // the owner of the schema
	url   string    // of the service's role
}

// TestStore runs every story on one server, each on a database of its own.
func TestStore(t *testing.T) {
	server := servers.StartPostgreSQL(t)
	template := server.Database()
	must(t, postgres.Migrate(t.Context(), template, password, slog.New(slog.DiscardHandler)))
	for name, story := range map[string]func(*testing.T, fixture){
		"append: same event twice is one event":          sameEventTwice,
		"append: same id with other content conflicts":   sameIDOtherContent,
		"append: a conflict keeps nothing of the batch":  conflictKeepsNothing,
		"append: writers of the same ids do not lock up": concurrentAppends,
		"append: every member comes back":                everyMemberComesBack,
		"append: many events are copied":                 manyAreCopied,
		"append: any month, in UTC":                      anyMonth,
		"append: a dropped partition comes again":        droppedPartition,
		"append: unknown ids are missing":                missing,
		"silence: whatever writes wait for ends":         silentServer,
		"silence: in the middle of a transaction":        silentTransaction,
		"silence: closing waits a while":                 closedUnderSilence,
		"query: by each member":                          queryByEachMember,
		"query: by time":                                 queryByTime,
		"query: by when they were received":              receivedLate,
		"query: cursor pages are of one moment":          cursorPages,
		"query: offset pages and total":                  offsetPages,
		"query: an odd snapshot is no cursor":            oddSnapshot,
		"query: pages and parts of large events":         largeEvents,
		"export: of one moment, whatever is written":     exportIsOfOneMoment,
		"export: in parts, as large as they may be":      exportInParts,
		"feed: nothing is skipped, nothing comes twice":  feedSkipsNothing,
		"feed: waits for what may still come before":     feedHidesWhatMayComeAfter,
		"summary: over months, in UTC":                   summaryOfMonths,
		"plans: each statement by its index":             plansAreKept,
		"query: too broad for the time there is":         tooBroad,
		"query: the digest is the one that was recorded": alteredRow,
		"rights: rows cannot be changed":                 rowsCannotBeChanged,
		"rights: limits are those of the columns":        limitsAreThoseOfTheColumns,
		"partitions: made while a reader is at work":     partitionUnderReader,
		"partitions: made ahead of a clock":              monthsAhead,
		"partitions: a refused event forgets no other":   monthsRemembered,
		"retention: the first policy decides":            firstPolicyDecides,
		"retention: not below the floor":                 tooShort,
		"retention: a hold keeps later events":           heldLater,
		"retention: of a large month":                    largeMonth,
		"retention: under a reader":                      retentionUnderReader,
		"retention: beside writers":                      retentionBesideWriters,
		"retention: while holds are placed":              holdsAgainstRetention,
		"retention: once when due":                       oneRun,
		"retention: its log cannot be changed":           retentionKeepsItsLog,
		"catalog: a version is kept once":                workflowKeptOnce,
		"catalog: latest by semantic version":            latestVersion,
		"catalog: latest of any versions":                latestOfAny,
		"catalog: pages of large workflows":              largeWorkflows,
	} {
		t.Run(name, func(t *testing.T) { story(t, newFixture(t, server.Copy(template))) })
	}
}

func newFixture(t testing.TB, url string) fixture {
	t.Helper()
	ctx := t.Context()
	owner, err := pgx.Connect(ctx, url)
	must(t, err)
	t.Cleanup(func() { _ = owner.Close(context.Background()) })
	config := owner.Config()
	f := fixture{owner: owner}
	f.url = fmt.Sprintf("host=%s port=%d dbname=%s user=%s password='%s' sslmode=disable", config.Host, config.Port,
		config.Database, postgres.ServiceRole, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password))
	f.Store, err = postgres.Open(f.url, postgres.Config{}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(f.Close)
	must(t, f.Ready(ctx))
	return f
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// event makes an event whose id is derived from n.
func event(t testing.TB, n int, change ...func(*audit.Event)) audit.Sealed {
	t.Helper()
	e := audit.Event{
		EventID: audit.EventID("test", fmt.Sprint(n)), Version: "1.0", EventType: "test.done", EventCategory: "test",
		EventAction: "done", EventOutcome: api.EventOutcomeSuccess, CorrelationID: "case-1",
		EventTimestamp: noon.Add(time.Duration(n) * time.Second), EventData: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)),
	}
	for _, c := range change {
		c(&e)
	}
	s, err := audit.Seal(e)
	must(t, err)
	s.ReceivedAt = noon
	return s
}

func sameEventTwice(t *testing.T, f fixture) {
	e := event(t, 1)
	for i, want := range []bool{true, false} {
		fresh, err := f.Append(t.Context(), []audit.Sealed{e})
		must(t, err)
		if fresh[0] != want {
			t.Errorf("attempt %d: fresh is %v", i, fresh[0])
		}
	}
	if got := f.number(t, "SELECT count(*) FROM audit_events"); got != 1 {
		t.Errorf("%d rows, want 1", got)
	}
}

func sameIDOtherContent(t *testing.T, f fixture) {
	_, err := f.Append(t.Context(), []audit.Sealed{event(t, 1)})
	must(t, err)
	_, err = f.Append(t.Context(), []audit.Sealed{event(t, 1, func(e *audit.Event) { e.Severity = "high" })})
	wantConflict(t, err, event(t, 1).Event.EventID)
}

func conflictKeepsNothing(t *testing.T, f fixture) {
	_, err := f.Append(t.Context(), []audit.Sealed{event(t, 2)})
	must(t, err)
	other := event(t, 2, func(e *audit.Event) { e.Severity = "high" })
	_, err = f.Append(t.Context(), []audit.Sealed{event(t, 1), other, event(t, 3)})
	wantConflict(t, err, other.Event.EventID)
	for _, table := range []string{"audit_events", "audit_event_id"} {
		if got := f.number(t, "SELECT count(*) FROM "+table); got != 1 {
			t.Errorf("%s has %d rows, want the first one only", table, got)
		}
	}
}

func wantConflict(t *testing.T, err error, ids ...uuid.UUID) {
	t.Helper()
	conflict, ok := errors.AsType[*datastorage.ConflictError](err)
	if !ok {
		t.Fatalf("error is %v, want a conflict", err)
	}
	if diff := cmp.Diff(ids, conflict.IDs); diff != "" {
		t.Errorf("conflicting ids (-want +got):\n%s", diff)
	}
}

// concurrentAppends lets writers send the same events in different orders.
func concurrentAppends(t *testing.T, f fixture) {
	const writers, events = 8, 100
	batch := make([]audit.Sealed, events)
	for i := range batch {
		batch[i] = event(t, i)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	total := 0
	for w := range writers {
		wg.Go(func() {
			mine := append(append([]audit.Sealed{}, batch[w*10:]...), batch[:w*10]...)
			fresh, err := f.Append(context.Background(), mine)
			if err != nil {
				t.Errorf("writer %d: %v", w, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, is := range fresh {
				if is {
					total++
				}
			}
		})
	}
	wg.Wait()
	if total != events {
		t.Errorf("%d events were called new, want %d", total, events)
	}
	if got := f.number(t, "SELECT count(*) FROM audit_events"); got != events {
		t.Errorf("%d rows, want %d", got, events)
	}
}

func full(e *audit.Event) {
	zero := int64(0)
	e.ActorType, e.ActorID = "serviceaccount", "system:serviceaccount:kubernaut-system:kubernaut-controller"
	e.ResourceType, e.ResourceID, e.ResourceName = "Deployment", "payment/deployment.apps/payment-api", "payment-api"
	e.ParentEventID = audit.EventID("test", "parent")
	e.Namespace, e.ClusterName, e.Severity, e.DurationMS = "payment", "local", "critical", &zero
	e.TraceID, e.SpanID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	e.ErrorCode, e.ErrorMessage = "OOMKilled", "exit code 137\n\"quoted\" \\ 漢字"
	e.EventOutcome = api.EventOutcomeFailure
	e.EventData = json.RawMessage(`{"z":[1.50,null,{"é":"\u2028"}],"a":1e21}`)
}

func everyMemberComesBack(t *testing.T, f fixture) {
	want := event(t, 1, full)
	_, err := f.Append(t.Context(), []audit.Sealed{want})
	must(t, err)
	page, err := f.Query(t.Context(), datastorage.Query{Limit: 10})
	must(t, err)
	e := want.Event
	if diff := cmp.Diff([]api.StoredEvent{{
		EventID: e.EventID, Version: e.Version, EventType: e.EventType, EventTimestamp: e.EventTimestamp,
		EventCategory: e.EventCategory, EventAction: e.EventAction, EventOutcome: e.EventOutcome,
		CorrelationID: e.CorrelationID, EventData: e.EventData, ActorType: e.ActorType, ActorID: e.ActorID,
		ResourceType: e.ResourceType, ResourceID: e.ResourceID, ResourceName: e.ResourceName,
		ParentEventID: e.ParentEventID, Namespace: e.Namespace, ClusterName: e.ClusterName, Severity: e.Severity,
		DurationMS: e.DurationMS, TraceID: e.TraceID, SpanID: e.SpanID, ErrorCode: e.ErrorCode,
		ErrorMessage: e.ErrorMessage, ReceivedAt: noon, Digest: want.Digest.String(),
	}}, page.Events); diff != "" {
		t.Errorf("stored event (-want +got):\n%s", diff)
	}
	columnsEqualContent(t, f)
}

// manyAreCopied appends more than is inserted row by row, with some known before.
func manyAreCopied(t *testing.T, f fixture) {
	var some, all []audit.Sealed
	for n := range 200 {
		e := event(t, n, full)
		if all = append(all, e); n%3 == 0 {
			some = append(some, e)
		}
	}
	_, err := f.Append(t.Context(), some)
	must(t, err)
	fresh, err := f.Append(t.Context(), all)
	must(t, err)
	for n, is := range fresh {
		if is != (n%3 != 0) {
			t.Errorf("event %d is new: %v", n, is)
		}
	}
	_, err = f.Append(t.Context(), append(all, event(t, 500)))
	must(t, err)
	if got := f.number(t, "SELECT count(*) FROM audit_events"); got != 201 {
		t.Errorf("%d rows, want 201", got)
	}
	if got := f.number(t, "SELECT count(*) FROM audit_events WHERE epoch <> 1 OR actor_id IS NULL AND event_id <> '"+event(t, 500).Event.EventID.String()+"'"); got != 0 {
		t.Errorf("%d rows are without epoch or actor", got)
	}
	columnsEqualContent(t, f)
	_, err = f.Append(t.Context(), append(all[:60:60], event(t, 100)))
	wantConflict(t, err, event(t, 100).Event.EventID)
}

// columnsEqualContent lets the database compare the columns, which serve queries,
// with the content, which is what was recorded.
func columnsEqualContent(t *testing.T, f fixture) {
	t.Helper()
	for _, field := range audit.Fields {
		if strings.HasPrefix(field.Name, "actor_") {
			continue
		}
		sql := fmt.Sprintf(`SELECT count(*) FROM audit_events
			WHERE %[1]s IS DISTINCT FROM convert_from(content, 'UTF8')::jsonb ->> '%[1]s'`, field.Name)
		if got := f.number(t, sql); got != 0 {
			t.Errorf("column %s differs from the content in %d rows", field.Name, got)
		}
	}
	for what, differs := range map[string]string{
		"digest":          "i.digest <> sha256(e.content)",
		"event_data":      "e.event_data <> c -> 'event_data'",
		"event_timestamp": "e.event_timestamp <> (c ->> 'event_timestamp')::timestamptz",
		"event_outcome":   "e.event_outcome <> c ->> 'event_outcome'",
		"duration_ms":     "e.duration_ms IS DISTINCT FROM (c ->> 'duration_ms')::bigint",
		"parent_event_id": "e.parent_event_id IS DISTINCT FROM (c ->> 'parent_event_id')::uuid",
	} {
		sql := `SELECT count(*) FROM audit_events e JOIN audit_event_id i USING (event_id),
			LATERAL (SELECT convert_from(e.content, 'UTF8')::jsonb AS c) AS x WHERE ` + differs
		if got := f.number(t, sql); got != 0 {
			t.Errorf("%s differs from the content in %d rows", what, got)
		}
	}
}

func anyMonth(t *testing.T, f fixture) {
	times := []time.Time{
		time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2024, 2, 29, 23, 59, 59, 999999000, time.UTC),
		time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2027, 3, 31, 23, 0, 0, 0, time.UTC), // with the clock a year ahead
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	for i, at := range times {
		_, err := f.Append(t.Context(), []audit.Sealed{event(t, i, func(e *audit.Event) { e.EventTimestamp = at })})
		must(t, err)
		sql := fmt.Sprintf("SELECT count(*) FROM audit_events_%s WHERE event_timestamp = '%s'", at.Format("200601"), at.Format(time.RFC3339Nano))
		if got := f.number(t, sql); got != 1 {
			t.Errorf("the event of %s is not in the partition of its month", at)
		}
	}
}

func droppedPartition(t *testing.T, f fixture) {
	_, err := f.Append(t.Context(), []audit.Sealed{event(t, 1)})
	must(t, err)
	_, err = f.owner.Exec(t.Context(), "DROP TABLE audit_events_202603")
	must(t, err)
	fresh, err := f.Append(t.Context(), []audit.Sealed{event(t, 2)})
	must(t, err)
	if !fresh[0] {
		t.Error("the event is not new")
	}
}

func missing(t *testing.T, f fixture) {
	known, unknown := event(t, 1), audit.EventID("test", "unknown")
	_, err := f.Append(t.Context(), []audit.Sealed{known})
	must(t, err)
	got, err := f.Missing(t.Context(), []uuid.UUID{unknown, known.Event.EventID})
	must(t, err)
	if diff := cmp.Diff([]uuid.UUID{unknown}, got); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}

// number runs a query for one number as the owner.
func (f fixture) number(t *testing.T, sql string) int {
	t.Helper()
	var n int
	if err := f.owner.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
