package datastorage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// gather is how long the first of several callers waits for the others.
const gather = 3 * time.Millisecond

// batcher joins callers into requests. It keeps nothing: an event lives in the
// stack of its caller, who waits for the answer.
type batcher struct {
	client *Client

	mu   sync.Mutex
	open *group // the group that takes callers; nil: the next caller begins one
}

// group is the callers who share a request.
type group struct {
	ctx     context.Context // ends when every caller has left
	cancel  context.CancelFunc
	full    chan struct{} // closed when nobody else fits in
	callers []*caller
	bytes   int
	waiting int
}

type caller struct {
	event  message
	parked bool
	err    error
	done   chan struct{} // closed when parked and err are set
}

// record adds an event to the open group and waits for its answer.
func (b *batcher) record(ctx context.Context, event message) (parked bool, err error) {
	me := &caller{event: event, done: make(chan struct{})}
	g := b.join(ctx, me)
	select {
	case <-me.done:
		return me.parked, me.err
	case <-ctx.Done():
		b.leave(g)
		return false, fmt.Errorf("%w: no answer yet: %w", ErrUnavailable, context.Cause(ctx))
	}
}

func (b *batcher) join(ctx context.Context, me *caller) *group {
	b.mu.Lock()
	defer b.mu.Unlock()
	size := len(me.event.raw) + 1
	maxEvents, maxBytes := int(b.client.maxEvents.Load()), int(b.client.maxBytes.Load())
	if b.open != nil && b.open.bytes+size > maxBytes {
		b.close()
	}
	if b.open == nil {
		b.open = b.begin(ctx)
	}
	g := b.open
	g.callers = append(g.callers, me)
	g.bytes += size
	g.waiting++
	if len(g.callers) >= maxEvents {
		b.close()
	}
	return g
}

// begin makes a group and sends it when it is full or the time to gather is over.
func (b *batcher) begin(ctx context.Context) *group {
	g := &group{full: make(chan struct{}), bytes: len("[]")}
	g.ctx, g.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer g.cancel()
		timer := time.NewTimer(gather)
		defer timer.Stop()
		select {
		case <-g.full:
		case <-timer.C:
		}
		b.deliver(g)
	}()
	return g
}

// close lets nobody else into the open group. The caller holds the lock.
func (b *batcher) close() {
	close(b.open.full)
	b.open = nil
}

// leave takes a caller out of a group. One that all have left is sent for nobody, and
// nobody may come into it any more.
func (b *batcher) leave(g *group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g.waiting--; g.waiting > 0 {
		return
	}
	g.cancel()
	if b.open == g {
		b.open = nil
	}
}

func (b *batcher) deliver(g *group) {
	b.mu.Lock()
	if b.open == g {
		b.open = nil
	}
	callers := g.callers
	b.mu.Unlock()
	b.send(g.ctx, callers)
}

// send sends the events of callers and answers each of them. A batch that is
// refused is sent in halves, until the refusal stands beside the event it is for.
func (b *batcher) send(ctx context.Context, callers []*caller) {
	if !b.fit(callers) {
		b.sendHalves(ctx, callers)
		return
	}
	events := make([]message, len(callers))
	for i, c := range callers {
		events[i] = c.event
	}
	parked, err := b.client.sendEvents(ctx, events)
	if refused(err) && len(callers) > 1 {
		b.sendHalves(ctx, callers)
		return
	}
	for _, c := range callers {
		c.parked, c.err = parked, err
		close(c.done)
	}
}

func (b *batcher) sendHalves(ctx context.Context, callers []*caller) {
	b.send(ctx, callers[:len(callers)/2])
	b.send(ctx, callers[len(callers)/2:])
}

// fit says whether a batch is within what the server has announced by now: it may
// have announced less since the batch was begun. One event cannot be divided.
func (b *batcher) fit(callers []*caller) bool {
	bytes := len("[]")
	for _, c := range callers {
		bytes += len(c.event.raw) + 1
	}
	within := len(callers) <= int(b.client.maxEvents.Load()) && bytes <= int(b.client.maxBytes.Load())
	return within || len(callers) == 1
}

// refused says whether an error may be due to one event of a batch.
func refused(err error) bool {
	return errors.Is(err, ErrInvalid) || errors.Is(err, ErrConflict) || errors.Is(err, ErrForbidden)
}
