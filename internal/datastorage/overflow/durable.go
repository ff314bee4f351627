package overflow

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// NotDurableError says that Redis is configured so that it may lose what it has
// acknowledged.
type NotDurableError struct{ Setting, Value, Want string }

func (e *NotDurableError) Error() string {
	return fmt.Sprintf("Redis could lose what is parked: its %s is %q; start it with --%s %s", e.Setting, e.Value, e.Setting, e.Want)
}

// durable is the configuration that keeps what was acknowledged.
var durable = []struct{ setting, value string }{
	{"appendonly", "yes"},
	{"appendfsync", "always"},
	{"maxmemory-policy", "noeviction"},
}

// requireDurable refuses a new connection to a server that may lose events: so one
// that comes back with another configuration is noticed too.
func (o *Overflow) requireDurable(ctx context.Context, conn *redis.Conn) error {
	for _, want := range durable {
		got, err := conn.ConfigGet(ctx, want.setting).Result()
		switch {
		case redis.IsPermissionError(err) || redis.HasErrorPrefix(err, "unknown command"):
			o.hidden.Do(func() {
				o.log.Warn("Redis does not show its configuration: make sure that it loses nothing", "error", err, "required", durable)
			})
			return nil
		case err != nil:
			return err
		case got[want.setting] != want.value:
			return &NotDurableError{want.setting, got[want.setting], want.value}
		}
	}
	return nil
}

// refused returns the error of a server that answers and may lose events. One that
// does not answer is none: it may come back.
func refused(err error) error {
	if notDurable, ok := errors.AsType[*NotDurableError](err); ok {
		return notDurable
	}
	return nil
}
