package datastorage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/audit"
)

// ledger is a Trail in memory that can be held up and be told to refuse.
type ledger struct {
	Trail

	mu           sync.Mutex
	kept         map[uuid.UUID]audit.Digest
	unfit        map[uuid.UUID]bool
	transactions int
	gate         chan struct{} // each transaction waits for one
}

func (l *ledger) Append(_ context.Context, events []audit.Sealed) ([]bool, error) {
	<-l.gate
	l.mu.Lock()
	defer l.mu.Unlock()
	l.transactions++
	conflict := &ConflictError{}
	for _, e := range events {
		if l.unfit[e.Event.EventID] {
			return nil, ErrUnfit
		}
		if there, ok := l.kept[e.Event.EventID]; ok && there != e.Digest {
			conflict.IDs = append(conflict.IDs, e.Event.EventID)
		}
	}
	if len(conflict.IDs) > 0 {
		return nil, conflict
	}
	fresh := make([]bool, len(events))
	for i, e := range events {
		_, known := l.kept[e.Event.EventID]
		fresh[i] = !known
		l.kept[e.Event.EventID] = e.Digest
	}
	return fresh, nil
}

func (l *ledger) Missing(_ context.Context, ids []uuid.UUID) (missing []uuid.UUID, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if _, there := l.kept[id]; !there {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

func sealed(n int, digest byte) audit.Sealed {
	return audit.Sealed{Event: audit.Event{EventID: audit.EventID("test", fmt.Sprint(n))}, Digest: audit.Digest{digest}}
}

// outcome is what one request ended in.
type outcome struct {
	fresh []bool
	err   error
}

// together sends requests that all wait in the queue before the first transaction
// goes on, and returns how each ended.
func together(t *testing.T, l *ledger, requests [][]audit.Sealed) (ended []outcome) {
	t.Helper()
	ended = make([]outcome, len(requests))
	synctest.Test(t, func(*testing.T) {
		l.gate = make(chan struct{})
		if l.kept == nil {
			l.kept = map[uuid.UUID]audit.Digest{}
		}
		g := &grouped{Trail: l}
		var callers sync.WaitGroup
		for i, events := range requests {
			callers.Go(func() { ended[i].fresh, ended[i].err = g.Append(context.Background(), events) })
			synctest.Wait() // the first two hold the transactions, the others queue in order
		}
		close(l.gate)
		callers.Wait()
		synctest.Wait()
		if g.running != 0 || len(g.queue) != 0 {
			t.Errorf("%d runners and %d requests are left", g.running, len(g.queue))
		}
	})
	return ended
}

func TestManyRequestsShareATransaction(t *testing.T) {
	l := &ledger{}
	var requests [][]audit.Sealed
	for n := range 50 {
		requests = append(requests, []audit.Sealed{sealed(2*n, 1), sealed(2*n+1, 1)})
	}
	for i, o := range together(t, l, requests) {
		if o.err != nil || fmt.Sprint(o.fresh) != "[true true]" {
			t.Errorf("request %d: %v, %v", i, o.fresh, o.err)
		}
	}
	if l.transactions != 3 || len(l.kept) != 100 {
		t.Errorf("%d events in %d transactions, want 100 in 3", len(l.kept), l.transactions)
	}
}

func TestAConflictIsToldToItsRequestAlone(t *testing.T) {
	l := &ledger{kept: map[uuid.UUID]audit.Digest{sealed(7, 1).Event.EventID: {1}}}
	requests := [][]audit.Sealed{{sealed(1, 1)}, {sealed(2, 1)}, {sealed(3, 1), sealed(7, 2)}, {sealed(4, 1)}, {sealed(7, 1)}}
	ended := together(t, l, requests)
	for i, o := range ended {
		if i == 2 {
			conflict, ok := errors.AsType[*ConflictError](o.err)
			if !ok || fmt.Sprint(conflict.IDs) != fmt.Sprint([]uuid.UUID{sealed(7, 1).Event.EventID}) {
				t.Errorf("the request in conflict ended in %v", o.err)
			}
			continue
		}
		if o.err != nil || o.fresh[0] == (i == 4) {
			t.Errorf("request %d: %v, %v", i, o.fresh, o.err)
		}
	}
	if _, there := l.kept[sealed(3, 1).Event.EventID]; there {
		t.Error("a part of the request in conflict was kept")
	}
}

func TestWhatIsUnfitIsToldToItsRequestAlone(t *testing.T) {
	l := &ledger{unfit: map[uuid.UUID]bool{sealed(3, 1).Event.EventID: true}}
	ended := together(t, l, [][]audit.Sealed{{sealed(1, 1)}, {sealed(2, 1)}, {sealed(3, 1)}, {sealed(4, 1)}})
	for i, o := range ended {
		if (i == 2) != errors.Is(o.err, ErrUnfit) {
			t.Errorf("request %d: %v", i, o.err)
		}
	}
}

func TestTheSameEventInTwoRequestsIsNewOnce(t *testing.T) {
	l := &ledger{}
	ended := together(t, l, [][]audit.Sealed{{sealed(1, 1)}, {sealed(2, 1)}, {sealed(3, 1)}, {sealed(3, 1)}, {sealed(3, 2)}})
	if ended[2].err != nil || ended[3].err != nil || ended[2].fresh[0] == ended[3].fresh[0] {
		t.Errorf("the same event twice: %v and %v", ended[2], ended[3])
	}
	if _, ok := errors.AsType[*ConflictError](ended[4].err); !ok {
		t.Errorf("another event with the same id: %v, want a conflict", ended[4].err)
	}
}

func TestALargeRequestGoesAlone(t *testing.T) {
	l := &ledger{}
	large := make([]audit.Sealed, groupEvents)
	for i := range large {
		large[i] = sealed(100+i, 1)
	}
	ended := together(t, l, [][]audit.Sealed{{sealed(1, 1)}, {sealed(2, 1)}, {sealed(3, 1)}, large, {sealed(4, 1)}})
	for i, o := range ended {
		if o.err != nil {
			t.Errorf("request %d: %v", i, o.err)
		}
	}
	if l.transactions != 5 {
		t.Errorf("%d transactions, want 5", l.transactions)
	}
}
