package datastorage

import (
	"context"
	"errors"
	"sync"

	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/audit"
)

const (
	groupEvents  = 1000 // events in one transaction, unless one request has more
	groupsAtOnce = 2    // transactions at once
)

// grouped is a Trail that appends the events of many requests in one transaction:
// what comes while a transaction is under way goes into the next. Nobody waits
// for company.
type grouped struct {
	Trail

	mu      sync.Mutex
	queue   []*request
	running int
}

// request is the events of one caller, who waits for done.
type request struct {
	ctx    context.Context
	events []audit.Sealed
	fresh  []bool
	err    error
	done   chan struct{}
}

// Append waits for the transaction that takes the events. It returns what the
// transaction ended in, even when ctx has ended meanwhile.
func (g *grouped) Append(ctx context.Context, events []audit.Sealed) ([]bool, error) {
	r := &request{ctx: context.WithoutCancel(ctx), events: events, done: make(chan struct{})}
	g.mu.Lock()
	g.queue = append(g.queue, r)
	start := g.running < groupsAtOnce
	if start {
		g.running++
	}
	g.mu.Unlock()
	if start {
		go g.run()
	}
	<-r.done
	return r.fresh, r.err
}

// run appends groups until the queue is empty.
func (g *grouped) run() {
	for {
		group := g.next()
		if len(group) == 0 {
			return
		}
		g.append(group)
	}
}

// next takes requests from the queue: at least one, and as many more as fit and
// share no id with those before. An empty result ends the runner.
func (g *grouped) next() (group []*request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := map[uuid.UUID]bool{}
	var left []*request
	for i, r := range g.queue {
		if len(group) > 0 && len(taken)+len(r.events) > groupEvents {
			left = append(left, g.queue[i:]...)
			break
		}
		if shares(taken, r) {
			left = append(left, r)
			continue
		}
		for i := range r.events {
			taken[r.events[i].Event.EventID] = true
		}
		group = append(group, r)
	}
	g.queue = left
	if len(group) == 0 {
		g.running--
	}
	return group
}

func shares(taken map[uuid.UUID]bool, r *request) bool {
	for i := range r.events {
		if taken[r.events[i].Event.EventID] {
			return true
		}
	}
	return false
}

// append appends a group and answers its requests. What is wrong with one of them
// is told to that one; the others are appended without it.
func (g *grouped) append(group []*request) {
	for len(group) > 0 {
		fresh, err := g.Trail.Append(group[0].ctx, eventsOf(group))
		conflict, conflicting := errors.AsType[*ConflictError](err)
		switch {
		case err == nil:
			give(group, fresh)
			return
		case conflicting:
			var bad []*request
			if bad, group = split(group, conflict); len(bad) > 0 {
				continue
			}
		case errors.Is(err, ErrUnfit) && len(group) > 1:
			for _, r := range group {
				g.append([]*request{r})
			}
			return
		}
		refuse(group, err)
		return
	}
}

// split answers the requests that have a conflicting id, and returns them and the rest.
func split(group []*request, conflict *ConflictError) (bad, rest []*request) {
	conflicting := map[uuid.UUID]bool{}
	for _, id := range conflict.IDs {
		conflicting[id] = true
	}
	for _, r := range group {
		mine := &ConflictError{}
		for i := range r.events {
			if id := r.events[i].Event.EventID; conflicting[id] {
				mine.IDs = append(mine.IDs, id)
			}
		}
		if len(mine.IDs) == 0 {
			rest = append(rest, r)
			continue
		}
		bad = append(bad, r)
		refuse([]*request{r}, mine)
	}
	return bad, rest
}

func eventsOf(group []*request) []audit.Sealed {
	if len(group) == 1 {
		return group[0].events
	}
	var all []audit.Sealed
	for _, r := range group {
		all = append(all, r.events...)
	}
	return all
}

// give gives each request its part of fresh.
func give(group []*request, fresh []bool) {
	for _, r := range group {
		r.fresh, fresh = fresh[:len(r.events):len(r.events)], fresh[len(r.events):]
		close(r.done)
	}
}

func refuse(group []*request, err error) {
	for _, r := range group {
		r.err = err
		close(r.done)
	}
}
