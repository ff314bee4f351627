package overflow

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

const (
	redriveBatch   = 500             // events moved in one transaction
	maxBytes       = 4 << 20         // of their content
	redriveEvery   = time.Second     // how often Redis is asked when nothing wakes us
	redriveBackoff = 5 * time.Second // at most, while the trail is away
	stepTimeout    = 30 * time.Second
)

// entry is one parked event with its place in the stream.
type entry struct {
	place string
	event audit.Sealed
}

// Redrive moves parked events to the trail, until ctx ends; it stops between two
// batches. Several processes may do it at once: delivering twice stores once.
func (o *Overflow) Redrive(ctx context.Context, trail datastorage.Trail) {
	pause, failing := redriveEvery, false
	for ctx.Err() == nil {
		moved, err := o.redriveOnce(context.WithoutCancel(ctx), trail)
		switch {
		case err != nil && !failing:
			failing = true
			o.log.Warn("Parked events stay where they are; trying again", "error", err)
		case err != nil:
			o.log.Debug("Parked events still stay where they are", "error", err, "again", pause)
		case moved > 0:
			pause, failing = redriveEvery, false
			o.log.Info("Parked events delivered", "events", moved)
			continue
		default:
			pause, failing = redriveEvery, false
		}
		if !o.sleep(ctx, pause/2+rand.N(pause/2), err == nil) { // so that replicas do not come at once
			return
		}
		if err != nil {
			pause = min(2*pause, redriveBackoff)
		}
	}
}

// sleep waits for d, or less when something is parked and the trail may be there.
func (o *Overflow) sleep(ctx context.Context, d time.Duration, wakeable bool) bool {
	wake := o.wake
	if !wakeable {
		wake = nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
		return false
	}
	return true
}

// redriveOnce moves the oldest batch. It returns how many entries left the stream.
func (o *Overflow) redriveOnce(ctx context.Context, trail datastorage.Trail) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	messages, err := o.read(ctx, parkedKey, "-", redriveBatch)
	if err != nil {
		return 0, err
	}
	var batch []entry
	gone := 0
	for _, m := range messages {
		event, err := decode(m.Values)
		if err != nil {
			gone++
			if err := o.condemn(ctx, m.ID, err); err != nil {
				return 0, err
			}
			continue
		}
		batch = append(batch, entry{m.ID, event})
	}
	if len(batch) == 0 {
		return gone, nil
	}
	n, err := o.deliver(ctx, trail, batch)
	return gone + n, err
}

// deliver appends a batch and removes its entries. An event that the trail will
// never take moves aside, and the others go on.
func (o *Overflow) deliver(ctx context.Context, trail datastorage.Trail, batch []entry) (int, error) {
	events := make([]audit.Sealed, len(batch))
	for i := range batch {
		events[i] = batch[i].event
	}
	_, err := trail.Append(ctx, events)
	conflict, conflicting := errors.AsType[*datastorage.ConflictError](err)
	switch {
	case err == nil:
		return len(batch), o.remove(ctx, batch)
	case conflicting:
		return o.deliverWithout(ctx, trail, batch, conflict)
	case !errors.Is(err, datastorage.ErrUnfit):
		return 0, err
	case len(batch) == 1:
		return 1, o.condemn(ctx, batch[0].place, err)
	}
	first, err := o.deliver(ctx, trail, batch[:len(batch)/2])
	if err != nil {
		return first, err
	}
	second, err := o.deliver(ctx, trail, batch[len(batch)/2:])
	return first + second, err
}

// deliverWithout moves the conflicting events aside and delivers the rest.
func (o *Overflow) deliverWithout(ctx context.Context, trail datastorage.Trail, batch []entry, conflict *datastorage.ConflictError) (int, error) {
	bad := map[string]bool{}
	for _, id := range conflict.IDs {
		bad[id.String()] = true
	}
	var rest []entry
	gone := 0
	for _, e := range batch {
		if !bad[e.event.Event.EventID.String()] {
			rest = append(rest, e)
			continue
		}
		gone++
		if err := o.condemn(ctx, e.place, conflict); err != nil {
			return 0, err
		}
	}
	if gone == 0 {
		return 0, fmt.Errorf("delivering parked events: the trail names ids that were not sent: %w", conflict)
	}
	if len(rest) == 0 {
		return gone, nil
	}
	n, err := o.deliver(ctx, trail, rest)
	return gone + n, err
}

func (o *Overflow) remove(ctx context.Context, batch []entry) error {
	places := make([]string, len(batch))
	for i, e := range batch {
		places[i] = e.place
	}
	removed, err := o.Purge(ctx, api.ParkedQueueWaiting, places)
	o.moved.Add(int64(removed))
	return err
}

// condemn moves one entry aside, with a sentence about the reason. The reason itself,
// in the words of the database, is for the log.
func (o *Overflow) condemn(ctx context.Context, place string, reason error) error {
	o.log.Error("A parked event can never be delivered and was moved aside", "entry", place, "key", poisonKey, "reason", reason)
	err := condemnScript.Run(ctx, o.client, []string{parkedKey, poisonKey},
		place, sentence(reason), time.Now().UTC().Format(time.RFC3339Nano)).Err()
	return classified("moving an event aside", err)
}

// sentence is what an operator is told of why an event can never be delivered.
func sentence(reason error) string {
	if _, conflicting := errors.AsType[*datastorage.ConflictError](reason); conflicting {
		return "its id is already the id of another event in the trail"
	}
	if errors.Is(reason, datastorage.ErrUnfit) {
		return "the database cannot keep this content; the log says why"
	}
	return "it cannot be read as an event; the log says why"
}

// decode reads the fields of an entry.
func decode(values map[string]any) (audit.Sealed, error) {
	text := func(name string) string { s, _ := values[name].(string); return s }
	s, err := audit.Open([]byte(text("content")))
	if err != nil {
		return s, err
	}
	if s.Event.EventID.String() != text("id") {
		return s, fmt.Errorf("the entry's id %q is not that of its content", text("id"))
	}
	s.Event.ActorType, s.Event.ActorID = text("actor_type"), text("actor_id")
	s.ReceivedAt, err = time.Parse(time.RFC3339Nano, text("received_at"))
	return s, err
}
