package overflow

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

// The keys share a hash tag, so that they stay together in a cluster.
const (
	parkedKey  = "{datastorage}:parked"
	digestsKey = "{datastorage}:parked:digests"
	poisonKey  = "{datastorage}:poison"
)

// DefaultCapacity is how many events may be parked, those moved aside included.
const DefaultCapacity = 1_000_000

var (
	//go:embed park.lua
	parkSource string
	//go:embed remove.lua
	removeSource string
	//go:embed condemn.lua
	condemnSource string
	//go:embed list.lua
	listSource string
	//go:embed retry.lua
	retrySource string

	parkScript    = redis.NewScript(parkSource)
	removeScript  = redis.NewScript(removeSource)
	condemnScript = redis.NewScript(condemnSource)
	listScript    = redis.NewScript(listSource)
	retryScript   = redis.NewScript(retrySource)
)

// errAddress says nothing of what was read instead, which has the password in it.
var errAddress = errors.New("address of Redis: write redis://[user]:password@host:port/number, with %2F for / and so on in the password")

// Overflow is what is parked in one Redis.
type Overflow struct {
	client   *redis.Client
	capacity int
	log      *slog.Logger
	wake     chan struct{} // something was parked
	moved    atomic.Int64
	hidden   sync.Once // says that Redis hides its configuration
}

var (
	_ datastorage.Overflow = (*Overflow)(nil)
	_ datastorage.Parking  = (*Overflow)(nil)
)

// Open prepares parking in the Redis at url, for at most capacity events; 0 means
// DefaultCapacity. A Redis that is away is no error, because it may come back. The
// error is a *NotDurableError when Redis may lose what it acknowledges, or says that
// the url cannot be read.
func Open(url string, capacity int, log *slog.Logger) (*Overflow, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, errAddress
	}
	options.DialTimeout = 2 * time.Second
	options.ReadTimeout = 5 * time.Second
	options.WriteTimeout = 5 * time.Second
	options.ContextTimeoutEnabled = true
	options.DialerRetries = 1
	options.MaxRetries = 1 // every step may be repeated
	options.ClientName = "datastorage"
	if capacity == 0 {
		capacity = DefaultCapacity
	}
	redis.SetLogger(quiet{log})
	o := &Overflow{capacity: capacity, log: log, wake: make(chan struct{}, 1)}
	options.OnConnect = o.requireDurable
	o.client = redis.NewClient(options)
	ctx, cancel := context.WithTimeout(context.Background(), options.DialTimeout)
	defer cancel()
	if err := refused(o.Ready(ctx)); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// quiet takes the lines that go-redis would print: every error they tell of also
// comes back from the call.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(ctx context.Context, format string, args ...any) {
	q.log.DebugContext(ctx, "Redis client", "line", fmt.Sprintf(format, args...))
}

// Close closes all connections.
func (o *Overflow) Close() error { return o.client.Close() }

// Ready says why nothing can be parked, or nil.
func (o *Overflow) Ready(ctx context.Context) error {
	return classified("asking Redis", o.client.Ping(ctx).Err())
}

// Park keeps events on the disk of Redis.
func (o *Overflow) Park(ctx context.Context, events []audit.Sealed) error {
	args := make([]any, 0, 1+6*len(events))
	args = append(args, o.capacity)
	for i := range events {
		e := &events[i]
		args = append(args, e.Event.EventID.String(), e.Digest.String(), e.Content,
			e.Event.ActorType, e.Event.ActorID, e.ReceivedAt.UTC().Format(time.RFC3339Nano))
	}
	reply, err := parkScript.Run(ctx, o.client, []string{parkedKey, digestsKey}, args...).Slice()
	if err != nil {
		return classified("parking events", err)
	}
	if err := parkReply(reply); err != nil {
		return err
	}
	o.awake()
	return nil
}

// awake tells Redrive that there is something to move.
func (o *Overflow) awake() {
	select {
	case o.wake <- struct{}{}:
	default: // it is awake
	}
}

// parkReply reads what park.lua returned: a verdict and the ids in conflict.
func parkReply(reply []any) error {
	if len(reply) != 2 {
		return fmt.Errorf("parking events: %w: Redis replied %v", datastorage.ErrAway, reply)
	}
	ids, _ := reply[1].([]any)
	switch reply[0] {
	case "parked":
		return nil
	case "full":
		return datastorage.ErrFull
	case "conflict":
		conflict := &datastorage.ConflictError{}
		for _, raw := range ids {
			id, err := uuid.Parse(fmt.Sprint(raw))
			if err != nil {
				return fmt.Errorf("parking events: Redis names the id %v: %w", raw, err)
			}
			conflict.IDs = append(conflict.IDs, id)
		}
		return conflict
	}
	return fmt.Errorf("parking events: %w: Redis replied %v", datastorage.ErrAway, reply)
}

// Parked returns the digests of those ids that are parked or were moved aside.
func (o *Overflow) Parked(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]audit.Digest, error) {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.String()
	}
	values, err := o.client.HMGet(ctx, digestsKey, names...).Result()
	if err != nil {
		return nil, classified("looking for parked events", err)
	}
	var parked map[uuid.UUID]audit.Digest
	for i, v := range values {
		text, ok := v.(string)
		if !ok {
			continue
		}
		digest, err := audit.ParseDigest(text)
		if err != nil {
			return nil, fmt.Errorf("the digest of parked event %s: %w", ids[i], err)
		}
		if parked == nil {
			parked = map[uuid.UUID]audit.Digest{}
		}
		parked[ids[i]] = digest
	}
	return parked, nil
}

// Count returns how many events are parked, and how many were moved aside because
// they can never be delivered.
func (o *Overflow) Count(ctx context.Context) (parked, poison int64, err error) {
	pipe := o.client.Pipeline()
	waiting, aside := pipe.XLen(ctx, parkedKey), pipe.XLen(ctx, poisonKey)
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, 0, classified("counting parked events", err)
	}
	return waiting.Val(), aside.Val(), nil
}

// classified wraps an error of Redis: it is full, or whatever it is, away.
func classified(doing string, err error) error {
	class := datastorage.ErrAway
	switch {
	case err == nil:
		return nil
	case redis.IsOOMError(err):
		class = datastorage.ErrFull
	}
	return fmt.Errorf("%s: %w: %w", doing, class, err)
}
