package overflow

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
	"github.com/redis/go-redis/v9"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
	"kubernaut.ai/kubernaut/test/servers"
)

var quietly = slog.New(slog.DiscardHandler)

func open(t *testing.T, capacity int) (*Overflow, *servers.RedisServer) {
	t.Helper()
	server := servers.StartRedis(t)
	o, err := Open(server.URL(), capacity, quietly)
	must(t, err)
	t.Cleanup(func() { _ = o.Close() })
	return o, server
}

func trail(t *testing.T) (*postgres.Store, *servers.Postgres) {
	t.Helper()
	server := servers.StartPostgreSQL(t)
	url := server.Database()
	must(t, postgres.Migrate(t.Context(), url, "service", quietly))
	store, err := postgres.Open(url, postgres.Config{}, quietly)
	must(t, err)
	t.Cleanup(store.Close)
	return store, server
}

// event makes an event whose id is derived from n.
func event(t *testing.T, n int, change ...func(*audit.Event)) audit.Sealed {
	t.Helper()
	e := audit.Event{
		EventID: audit.EventID("test", fmt.Sprint(n)), Version: "1.0", EventType: "test.done", EventCategory: "test",
		EventAction: "done", EventOutcome: api.EventOutcomeSuccess, CorrelationID: "case-1", ActorType: "user", ActorID: "alice",
		EventTimestamp: time.Date(2026, 3, 1, 12, 0, n, 0, time.UTC), EventData: json.RawMessage(`{"漢":"\n\"\\"}`),
	}
	for _, c := range change {
		c(&e)
	}
	s, err := audit.Seal(e)
	must(t, err)
	s.ReceivedAt = time.Date(2026, 3, 1, 12, 0, n, 123456000, time.UTC)
	return s
}

func severe(e *audit.Event) { e.Severity = "high" }

func TestParkingTwiceParksOnce(t *testing.T) {
	o, _ := open(t, 0)
	batch := []audit.Sealed{event(t, 1), event(t, 2)}
	must(t, o.Park(t.Context(), batch))
	must(t, o.Park(t.Context(), batch))
	wantCount(t, o, 2, 0)
	got, err := o.Parked(t.Context(), []uuid.UUID{batch[1].Event.EventID, audit.EventID("test", "unknown")})
	must(t, err)
	if diff := cmp.Diff(map[uuid.UUID]audit.Digest{batch[1].Event.EventID: batch[1].Digest}, got); diff != "" {
		t.Errorf("parked (-want +got):\n%s", diff)
	}
}

func TestParkingAnotherEventUnderAParkedIDParksNothing(t *testing.T) {
	o, _ := open(t, 0)
	must(t, o.Park(t.Context(), []audit.Sealed{event(t, 1)}))
	err := o.Park(t.Context(), []audit.Sealed{event(t, 2), event(t, 1, severe)})
	conflict, ok := errors.AsType[*datastorage.ConflictError](err)
	if !ok {
		t.Fatalf("error is %v, want a conflict", err)
	}
	if diff := cmp.Diff([]uuid.UUID{event(t, 1).Event.EventID}, conflict.IDs); diff != "" {
		t.Errorf("conflicting ids (-want +got):\n%s", diff)
	}
	wantCount(t, o, 1, 0)
}

func TestAtCapacityParkingIsRefused(t *testing.T) {
	o, _ := open(t, 2)
	must(t, o.Park(t.Context(), []audit.Sealed{event(t, 1)}))
	if err := o.Park(t.Context(), []audit.Sealed{event(t, 2), event(t, 3)}); !errors.Is(err, datastorage.ErrFull) {
		t.Errorf("error is %v, want ErrFull", err)
	}
	must(t, o.Park(t.Context(), []audit.Sealed{event(t, 1), event(t, 2)}))
	wantCount(t, o, 2, 0)
}

func TestParkedEventsSurviveACrashOfRedis(t *testing.T) {
	o, server := open(t, 0)
	must(t, o.Park(t.Context(), []audit.Sealed{event(t, 1)}))
	server.Kill()
	if err := o.Park(t.Context(), []audit.Sealed{event(t, 2)}); !errors.Is(err, datastorage.ErrAway) {
		t.Errorf("parking in a dead Redis: %v, want ErrAway", err)
	}
	server.Restart()
	wantCount(t, o, 1, 0)
	must(t, o.Park(t.Context(), []audit.Sealed{event(t, 2)}))
	wantCount(t, o, 2, 0)
}

func TestRedriveDeliversWhatWasParkedWithAllItsFields(t *testing.T) {
	o, _ := open(t, 0)
	store, _ := trail(t)
	var want []string
	for n := 0; n < redriveBatch+10; n += 10 {
		var batch []audit.Sealed
		for i := range 10 {
			e := event(t, n+i)
			batch = append(batch, e)
			want = append(want, fmt.Sprint(e.Digest, " alice ", e.ReceivedAt))
		}
		must(t, o.Park(t.Context(), batch))
	}
	redrive(t, o, store)
	await(t, o, 0)
	q := datastorage.Query{Limit: 1000, Ascending: true}
	page, err := store.Query(t.Context(), q)
	must(t, err)
	var got []string
	for _, e := range page.Events {
		got = append(got, fmt.Sprint(e.Digest, " ", e.ActorID, " ", e.ReceivedAt))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("delivered (-want +got):\n%s", diff)
	}
	left, err := o.client.HLen(t.Context(), digestsKey).Result()
	must(t, err)
	if left != 0 {
		t.Errorf("Redis still has %d digests", left)
	}
}

func TestRedriveGoesOnByItselfWhenPostgreSQLIsBack(t *testing.T) {
	o, _ := open(t, 0)
	store, server := trail(t)
	server.Kill()
	must(t, o.Park(t.Context(), []audit.Sealed{event(t, 1)}))
	redrive(t, o, store)
	if _, err := o.redriveOnce(t.Context(), store); !errors.Is(err, datastorage.ErrAway) {
		t.Errorf("delivering to a dead PostgreSQL: %v, want ErrAway", err)
	}
	wantCount(t, o, 1, 0)
	server.Restart()
	await(t, o, 0)
}

func TestPoisonMovesAsideAndTheRestGoesOn(t *testing.T) {
	o, _ := open(t, 0)
	store, _ := trail(t)
	_, err := store.Append(t.Context(), []audit.Sealed{event(t, 2)})
	must(t, err)
	unfit := event(t, 3, func(e *audit.Event) { e.ErrorMessage = strings.Repeat("x", 8193) }) // longer than its column
	must(t, o.Park(t.Context(), []audit.Sealed{event(t, 1), event(t, 2, severe), unfit, event(t, 4)}))
	must(t, o.client.XAdd(t.Context(), &redis.XAddArgs{Stream: parkedKey, Values: []any{"id", "x", "content", "no JSON"}}).Err())
	redrive(t, o, store)
	await(t, o, 3)
	page, err := store.Query(t.Context(), datastorage.Query{Limit: 10, Ascending: true})
	must(t, err)
	var got []uuid.UUID
	for _, e := range page.Events {
		got = append(got, e.EventID)
	}
	want := []uuid.UUID{event(t, 1).Event.EventID, event(t, 2).Event.EventID, event(t, 4).Event.EventID}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("delivered (-want +got):\n%s", diff)
	}
	aside, err := o.client.XRange(t.Context(), poisonKey, "-", "+").Result()
	must(t, err)
	reasons := map[any]int{}
	for _, m := range aside {
		reasons[m.Values["reason"]]++
		if m.Values["content"] == "" || m.Values["condemned_at"] == "" {
			t.Errorf("moved aside without its content or time: %v", m.Values)
		}
	}
	// Nothing of the database's own words.
	if diff := cmp.Diff(map[any]int{
		"its id is already the id of another event in the trail":  1,
		"the database cannot keep this content; the log says why": 1,
		"it cannot be read as an event; the log says why":         1,
	}, reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

func TestAnAddressThatCannotBeReadIsNotRepeated(t *testing.T) {
	for _, url := range []string{
		"redis://:hunter2@redis:port/0", "redis://:hunter2/x@redis:6379/0", "redis://:x/hunter2@redis:6379/0", "redis://:hunter2%@redis:6379",
		"hunter2", "hunter2:x", "redis://:x?hunter2@redis:6379", "redis://:hunter2@redis:6379/0?hunter2=1",
	} {
		_, err := Open(url, 0, quietly)
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "redis://") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestTwoRedriversDeliverOnce(t *testing.T) {
	o, _ := open(t, 0)
	store, _ := trail(t)
	for n := 0; n < 2000; n += 100 {
		batch := make([]audit.Sealed, 100)
		for i := range batch {
			batch[i] = event(t, n+i)
		}
		must(t, o.Park(t.Context(), batch))
	}
	redrive(t, o, store)
	redrive(t, o, store)
	await(t, o, 0)
	page, err := store.Query(t.Context(), datastorage.Query{Limit: 1})
	must(t, err)
	if page.Total != 2000 {
		t.Errorf("%d events were delivered, want 2000", page.Total)
	}
}

// redrive runs Redrive until the test ends.
func redrive(t *testing.T, o *Overflow, store datastorage.Trail) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { o.Redrive(ctx, store) })
	t.Cleanup(func() { stop(); running.Wait() })
}

// await waits until nothing is parked and so many events were moved aside.
func await(t *testing.T, o *Overflow, poison int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		gotParked, gotPoison, err := o.Count(ctx)
		must(t, err)
		if gotParked == 0 && gotPoison == poison {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("parked %d, aside %d after a minute; want 0, %d", gotParked, gotPoison, poison)
		}
	}
}

func wantCount(t *testing.T, o *Overflow, parked, poison int64) {
	t.Helper()
	gotParked, gotPoison, err := o.Count(t.Context())
	must(t, err)
	if gotParked != parked || gotPoison != poison {
		t.Errorf("parked %d, aside %d; want %d, %d", gotParked, gotPoison, parked, poison)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
