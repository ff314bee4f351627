package overflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/test/servers"
)

// memory is a trail that fails as it is told.
type memory struct {
	datastorage.Trail
	refuses map[uuid.UUID]error  // these events
	before  func(call int) error // nothing is kept
	after   func(call int) error // the answer is lost

	mu    sync.Mutex
	calls int
	kept  map[uuid.UUID]audit.Digest
	order []uuid.UUID
}

func (m *memory) Append(_ context.Context, events []audit.Sealed) ([]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if err := m.asTold(m.before); err != nil {
		return nil, err
	}
	for _, e := range events {
		id := e.Event.EventID
		if digest, there := m.kept[id]; there && digest != e.Digest {
			return nil, &datastorage.ConflictError{IDs: []uuid.UUID{id}}
		}
		if m.refuses[id] != nil {
			return nil, m.refuses[id]
		}
	}
	if m.kept == nil {
		m.kept = map[uuid.UUID]audit.Digest{}
	}
	fresh := make([]bool, len(events))
	for i, e := range events {
		if _, there := m.kept[e.Event.EventID]; !there {
			fresh[i] = true
			m.kept[e.Event.EventID] = e.Digest
			m.order = append(m.order, e.Event.EventID)
		}
	}
	return fresh, m.asTold(m.after)
}

func (m *memory) asTold(what func(int) error) error {
	if what == nil {
		return nil
	}
	return what(m.calls)
}

func (m *memory) wantInOrder(t *testing.T, events ...audit.Sealed) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var want []uuid.UUID
	for _, e := range events {
		want = append(want, e.Event.EventID)
	}
	if diff := cmp.Diff(want, m.order); diff != "" {
		t.Errorf("in the trail (-want +got):\n%s", diff)
	}
}

func TestTheSameEventIsParkedOnceByMany(t *testing.T) {
	o, _ := open(t, 0)
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			if err := o.Park(t.Context(), []audit.Sealed{event(t, 1), event(t, 2), event(t, 1)}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	wantCount(t, o, 2, 0)
	wantConflict(t, o.Park(t.Context(), []audit.Sealed{event(t, 3), event(t, 3, severe)}), event(t, 3))
	wantCount(t, o, 2, 0)
}

func TestOneOfManyContentsGetsTheID(t *testing.T) {
	o, _ := open(t, 0)
	won := make(chan audit.Digest, 32)
	var group sync.WaitGroup
	for n := range 32 {
		group.Go(func() {
			e := event(t, 1, func(e *audit.Event) { e.ResourceID = fmt.Sprint(n % 8) })
			if err := o.Park(t.Context(), []audit.Sealed{e}); err == nil {
				won <- e.Digest
			} else if _, ok := errors.AsType[*datastorage.ConflictError](err); !ok {
				t.Error(err)
			}
		})
	}
	group.Wait()
	close(won)
	parked, err := o.Parked(t.Context(), []uuid.UUID{event(t, 1).Event.EventID})
	must(t, err)
	if len(won) != 4 {
		t.Errorf("%d were acknowledged, want the 4 whose content was first", len(won))
	}
	for digest := range won {
		if digest != parked[event(t, 1).Event.EventID] {
			t.Errorf("%s was acknowledged, parked are %v", digest, parked)
		}
	}
}

// TestRedisWithoutMemory fills Redis. What is in it must get out all the same, and
// poison aside.
func TestRedisWithoutMemory(t *testing.T) {
	o, err := Open(servers.StartRedis(t, "--maxmemory", "8mb").URL(), 0, quietly)
	must(t, err)
	t.Cleanup(func() { _ = o.Close() })
	large := func(e *audit.Event) {
		e.EventData = json.RawMessage(fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", audit.MaxDataBytes-100)))
	}
	var parked []audit.Sealed
	for err == nil && len(parked) < 1000 {
		e := event(t, len(parked), large)
		if err = o.Park(t.Context(), []audit.Sealed{e}); err == nil {
			parked = append(parked, e)
		}
	}
	wantFull(t, err)
	kept := &memory{refuses: map[uuid.UUID]error{parked[0].Event.EventID: datastorage.ErrUnfit}}
	stop := redriving(t, o, kept)
	await(t, o, 1)
	stop()
	kept.wantInOrder(t, parked[1:]...)
	if perfect := (len(parked)*audit.MaxDataBytes)/maxBytes + 1; kept.calls < perfect {
		t.Errorf("%d large events came in %d batches, want at least %d", len(parked), kept.calls, perfect)
	}
	must(t, o.Park(t.Context(), []audit.Sealed{event(t, 1001, large)}))
}

// TestAcknowledgedEventsSurviveAKill kills Redis while many park batches of three.
func TestAcknowledgedEventsSurviveAKill(t *testing.T) {
	o, server := open(t, 0)
	batch := func(n int) []audit.Sealed { return []audit.Sealed{event(t, 3*n), event(t, 3*n+1), event(t, 3*n+2)} }
	const workers, enough = 8, 200
	acknowledged := make(chan int, 1<<20)
	reached := make(chan struct{})
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for n := worker; ; n += workers {
				if err := o.Park(t.Context(), batch(n)); err != nil {
					if !errors.Is(err, datastorage.ErrAway) {
						t.Error(err)
					}
					return
				}
				acknowledged <- n
				if n == enough {
					close(reached)
				}
			}
		})
	}
	<-reached
	server.Kill()
	group.Wait()
	close(acknowledged)
	server.Restart()

	kept := &memory{}
	stop := redriving(t, o, kept)
	await(t, o, 0)
	stop()
	for n := range acknowledged {
		for _, e := range batch(n) {
			if kept.kept[e.Event.EventID] != e.Digest {
				t.Errorf("event %s of batch %d was acknowledged and is lost", e.Event.EventID, n)
			}
		}
	}
	if len(kept.order)%3 != 0 {
		t.Errorf("%d events were parked, so a batch of three was torn", len(kept.order))
	}
}

// TestRedriveThroughFaults fails before and after the trail keeps a batch, and kills
// Redis between that and the removal of the entries.
func TestRedriveThroughFaults(t *testing.T) {
	o, server := open(t, 0)
	var all []audit.Sealed
	for n := range 2*redriveBatch + 7 {
		all = append(all, event(t, n))
	}
	must(t, o.Park(t.Context(), all))
	before := map[int]error{1: datastorage.ErrAway, 2: datastorage.ErrBusy, 3: errors.New("permission denied")}
	killed := make(chan struct{})
	kept := &memory{
		before: func(call int) error { return before[call] },
		after: func(call int) error {
			switch call {
			case 4:
				return fmt.Errorf("the answer is lost: %w", datastorage.ErrAway)
			case 5:
				server.Kill()
				server.Restart()
			case 6:
				server.Kill() // now the removal fails
				close(killed)
			}
			return nil
		},
	}
	stop := redriving(t, o, kept)
	<-killed
	server.Restart()
	await(t, o, 0)
	stop()
	kept.wantInOrder(t, all...)
	if kept.calls < 7 {
		t.Errorf("%d calls, so the faults did not happen", kept.calls)
	}
}

// TestRedriveStopsBetweenTwoBatches ends it while the trail is at work.
func TestRedriveStopsBetweenTwoBatches(t *testing.T) {
	o, _ := open(t, 0)
	var all []audit.Sealed
	for n := range 2 * redriveBatch {
		all = append(all, event(t, n))
	}
	must(t, o.Park(t.Context(), all))
	ctx, stop := context.WithCancel(t.Context())
	kept := &memory{after: func(int) error { stop(); return nil }}
	o.Redrive(ctx, kept)
	kept.wantInOrder(t, all[:redriveBatch]...)
	wantCount(t, o, redriveBatch, 0)
}

// TestManyReplicas parks and redrives from several processes' worth of clients at once,
// with conflicts and lost answers.
func TestManyReplicas(t *testing.T) {
	first, server := open(t, 0)
	conflicting := event(t, 10)
	kept := &memory{kept: map[uuid.UUID]audit.Digest{conflicting.Event.EventID: event(t, 10, severe).Digest}}
	kept.after = func(call int) error {
		if call%5 == 0 {
			return datastorage.ErrAway
		}
		return nil
	}
	replicas := []*Overflow{first}
	for range 2 {
		o, err := Open(server.URL(), 0, quietly)
		must(t, err)
		t.Cleanup(func() { _ = o.Close() })
		replicas = append(replicas, o)
	}
	var group sync.WaitGroup
	for i, o := range replicas {
		redriving(t, o, kept)
		group.Go(func() {
			for n := i; n < 300; n++ { // each parks what the others do too
				if err := o.Park(t.Context(), []audit.Sealed{event(t, n)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	await(t, first, 1)
	kept.mu.Lock()
	defer kept.mu.Unlock()
	got := maps.Clone(kept.kept)
	for n := range 300 {
		delete(got, event(t, n).Event.EventID)
	}
	if len(got) != 0 || len(kept.kept) != 300 || len(kept.order) != 299 {
		t.Errorf("%d ids, %d of them strange, %d kept by redrive; want 300, 0, 299", len(kept.kept), len(got), len(kept.order))
	}
}

// redriving runs Redrive until stop, which waits for its end.
func redriving(t *testing.T, o *Overflow, to datastorage.Trail) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { o.Redrive(ctx, to) })
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return stop
}

func purge(o *Overflow, q api.ParkedQueue) func(context.Context, []string) (int, error) {
	return func(ctx context.Context, places []string) (int, error) { return o.Purge(ctx, q, places) }
}

func wantFound(t *testing.T, do func(context.Context, []string) (int, error), want int, places ...string) {
	t.Helper()
	if n, err := do(t.Context(), places); err != nil || n != want {
		t.Errorf("%d found, %v; want %d", n, err, want)
	}
}

func wantFull(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, datastorage.ErrFull) {
		t.Errorf("error is %v, want ErrFull", err)
	}
}

func wantConflict(t *testing.T, err error, e audit.Sealed) {
	t.Helper()
	conflict, ok := errors.AsType[*datastorage.ConflictError](err)
	if !ok {
		t.Fatalf("error is %v, want a conflict", err)
	}
	if diff := cmp.Diff([]uuid.UUID{e.Event.EventID}, conflict.IDs); diff != "" {
		t.Errorf("ids in conflict (-want +got):\n%s", diff)
	}
}
