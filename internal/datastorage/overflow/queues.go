package overflow

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

// keys are the streams of the queues.
var keys = map[api.ParkedQueue]string{api.ParkedQueueWaiting: parkedKey, api.ParkedQueuePoisoned: poisonKey}

// List returns entries of a queue behind a place ("" is the beginning), the oldest
// first: at most limit, fewer when they are large, none when there are no more.
func (o *Overflow) List(ctx context.Context, q api.ParkedQueue, after string, limit int) ([]api.ParkedEntry, error) {
	from := "-"
	if after != "" {
		if _, err := placesOf([]string{after}); err != nil {
			return nil, err
		}
		from = "(" + after
	}
	messages, err := o.read(ctx, keys[q], from, limit)
	if err != nil {
		return nil, err
	}
	return entriesOf(messages), nil
}

// Find returns those of the entries that are in a queue.
func (o *Overflow) Find(ctx context.Context, q api.ParkedQueue, places []string) ([]api.ParkedEntry, error) {
	if _, err := placesOf(places); err != nil {
		return nil, err
	}
	pipe := o.client.Pipeline()
	var found []*redis.XMessageSliceCmd
	for _, place := range places {
		found = append(found, pipe.XRange(ctx, keys[q], place, place))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, classified("looking for parked events", err)
	}
	var messages []redis.XMessage
	for _, f := range found {
		messages = append(messages, f.Val()...)
	}
	return entriesOf(messages), nil
}

// entriesOf turns messages into entries. Of a damaged one some members are empty.
func entriesOf(messages []redis.XMessage) []api.ParkedEntry {
	entries := make([]api.ParkedEntry, len(messages))
	for i, m := range messages {
		text := func(name string) string { s, _ := m.Values[name].(string); return s }
		entries[i] = api.ParkedEntry{
			Place: m.ID, EventID: text("id"), Content: strings.ToValidUTF8(text("content"), "\uFFFD"), ActorType: text("actor_type"),
			ActorID: text("actor_id"), ReceivedAt: text("received_at"), Reason: text("reason"), MovedAsideAt: text("condemned_at"),
		}
	}
	return entries
}

// read reads entries up to a number and to maxBytes of content.
func (o *Overflow) read(ctx context.Context, key, from string, limit int) ([]redis.XMessage, error) {
	raw, err := listScript.Run(ctx, o.client, []string{key}, from, limit, maxBytes).Slice()
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

// Each calls do for every event that is parked or was moved aside.
func (o *Overflow) Each(ctx context.Context, do func(uuid.UUID, audit.Digest)) error {
	const some = 1000
	for cursor := uint64(0); ; {
		pairs, next, err := o.client.HScan(ctx, digestsKey, cursor, "", some).Result()
		if err != nil {
			return classified("reading the digests of parked events", err)
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			id, idErr := uuid.Parse(pairs[i])
			digest, err := audit.ParseDigest(pairs[i+1])
			if err := errors.Join(idErr, err); err != nil {
				return fmt.Errorf("the digest of parked event %s: %w", pairs[i], err)
			}
			do(id, digest)
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
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
func (o *Overflow) Purge(ctx context.Context, q api.ParkedQueue, places []string) (int, error) {
	args, err := placesOf(places)
	if err != nil {
		return 0, err
	}
	n, err := removeScript.Run(ctx, o.client, []string{keys[q], digestsKey}, args...).Int()
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

// Capacity is how many events may be parked, those moved aside included.
func (o *Overflow) Capacity() int { return o.capacity }

// Moved is how many entries this process has moved to the trail.
func (o *Overflow) Moved() int64 { return o.moved.Load() }

// placesOf makes arguments of places, and refuses what would be a range of entries.
func placesOf(places []string) ([]any, error) {
	args := make([]any, len(places))
	for i, place := range places {
		at, number, _ := strings.Cut(place, "-")
		for _, part := range []string{at, number} {
			if _, err := strconv.ParseUint(part, 10, 64); err != nil {
				return nil, fmt.Errorf("%q: %w, which is like 1772366400000-0", place, datastorage.ErrPlace)
			}
		}
		args[i] = place
	}
	return args, nil
}
