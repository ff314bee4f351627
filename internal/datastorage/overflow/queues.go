package overflow

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kubernaut.ai/kubernaut/internal/datastorage"
)

// Queue is one of the two streams.
type Queue string

// The queues.
const (
	Waiting  Queue = parkedKey // on their way to the trail
	Poisoned Queue = poisonKey // the trail will never take them: kept until somebody decides
)

// Entry is one event in a queue. Of a damaged one some members are empty.
type Entry struct {
	Place      string // names the entry in its queue; a later one has a greater place
	EventID    string
	Content    []byte // canonical JSON
	ActorType  string
	ActorID    string
	ReceivedAt string // RFC 3339
	Reason     string // why it was moved aside; then also when
	AsideAt    string
}

// List returns entries of a queue behind a place ("" is the beginning), the oldest
// first: at most limit, fewer when they are large, none when there are no more.
func (o *Overflow) List(ctx context.Context, q Queue, after string, limit int) ([]Entry, error) {
	from := "-"
	if after != "" {
		if _, err := placesOf([]string{after}); err != nil {
			return nil, err
		}
		from = "(" + after
	}
	messages, err := o.read(ctx, q, from, limit)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(messages))
	for i, m := range messages {
		text := func(name string) string { s, _ := m.Values[name].(string); return s }
		entries[i] = Entry{
			Place: m.ID, EventID: text("id"), Content: []byte(text("content")), ActorType: text("actor_type"),
			ActorID: text("actor_id"), ReceivedAt: text("received_at"), Reason: text("reason"), AsideAt: text("condemned_at"),
		}
	}
	return entries, nil
}

// read reads entries up to a number and to maxBytes of content.
func (o *Overflow) read(ctx context.Context, q Queue, from string, limit int) ([]redis.XMessage, error) {
	raw, err := listScript.Run(ctx, o.client, []string{string(q)}, from, limit, maxBytes).Slice()
	if err != nil {
		return nil, classified("reading parked events", err)
	}
	messages := make([]redis.XMessage, len(raw))
	for i := range raw {
		values, ok := raw[i].([]any)
		if !ok || len(values)%2 == 0 {
			return nil, fmt.Errorf("reading parked events: %w: Redis replied %v", datastorage.ErrAway, raw[i])
		}
		messages[i] = redis.XMessage{ID: fmt.Sprint(values[0]), Values: map[string]any{}}
		for at := 1; at < len(values); at += 2 {
			messages[i].Values[fmt.Sprint(values[at])] = values[at+1]
		}
	}
	return messages, nil
}

// Retry puts poisoned entries behind the waiting ones, and returns how many it found.
func (o *Overflow) Retry(ctx context.Context, places []string) (int, error) {
	args, err := placesOf(places)
	if err != nil {
		return 0, err
	}
	n, err := retryScript.Run(ctx, o.client, []string{poisonKey, parkedKey}, args...).Int()
	if err != nil {
		return 0, classified("retrying poisoned events", err)
	}
	o.awake()
	return n, nil
}

// Purge removes entries with their ids, and returns how many it found. An event that
// the trail does not have is lost.
func (o *Overflow) Purge(ctx context.Context, q Queue, places []string) (int, error) {
	args, err := placesOf(places)
	if err != nil {
		return 0, err
	}
	n, err := removeScript.Run(ctx, o.client, []string{string(q), digestsKey}, args...).Int()
	if err != nil {
		return 0, classified("removing parked events", err)
	}
	return n, nil
}

// OldestAge is how long the oldest entry has been waiting, by Redis' clock; 0 when
// none does.
func (o *Overflow) OldestAge(ctx context.Context) (time.Duration, error) {
	pipe := o.client.Pipeline()
	oldest, now := pipe.XRangeN(ctx, parkedKey, "-", "+", 1), pipe.Time(ctx)
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, classified("asking for the oldest parked event", err)
	}
	if len(oldest.Val()) == 0 {
		return 0, nil
	}
	at, _, _ := strings.Cut(oldest.Val()[0].ID, "-")
	ms, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the place of the oldest parked event: %w", err)
	}
	return max(0, now.Val().Sub(time.UnixMilli(ms))), nil
}

// Moved is how many entries this process has moved to the trail.
func (o *Overflow) Moved() int64 { return o.moved.Load() }

// placesOf makes arguments of places, and refuses what would be a range of entries.
func placesOf(places []string) ([]any, error) {
	args := make([]any, len(places))
	for i, place := range places {
		at, number, _ := strings.Cut(place, "-")
		for _, part := range []string{at, number} {
			if _, err := strconv.ParseUint(part, 10, 64); err != nil {
				return nil, fmt.Errorf("%q is not the place of an entry: one is like 1772366400000-0", place)
			}
		}
		args[i] = place
	}
	return args, nil
}
