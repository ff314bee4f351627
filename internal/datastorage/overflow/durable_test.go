package overflow

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/test/servers"
)

func TestRedisThatMayLoseEventsIsRefused(t *testing.T) {
	for _, c := range []NotDurableError{
		{"appendonly", "no", "yes"},
		{"appendfsync", "everysec", "always"},
		{"maxmemory-policy", "allkeys-lru", "noeviction"},
	} {
		server := servers.StartRedis(t, "--"+c.Setting, c.Value)
		_, err := Open(server.URL(), 0, quietly)
		if got, ok := errors.AsType[*NotDurableError](err); !ok || *got != c {
			t.Errorf("error is %v, want %v", err, &c)
		}
	}
}

// TestRedisThatComesBackOtherwise is away at the start, is there, and then may lose events.
func TestRedisThatComesBackOtherwise(t *testing.T) {
	server := servers.StartRedis(t)
	server.Kill()
	o, err := Open(server.URL(), 0, quietly)
	must(t, err)
	t.Cleanup(func() { _ = o.Close() })
	server.Restart()
	must(t, o.Park(t.Context(), []audit.Sealed{event(t, 1)}))

	admin := o.client.Conn()
	t.Cleanup(func() { _ = admin.Close() })
	must(t, admin.ConfigSet(t.Context(), "appendfsync", "no").Err())
	must(t, admin.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err())
	err = o.Park(t.Context(), []audit.Sealed{event(t, 2)})
	if _, ok := errors.AsType[*NotDurableError](err); !ok || !errors.Is(err, datastorage.ErrAway) {
		t.Errorf("error is %v, want ErrAway because Redis is not durable", err)
	}
}

func TestRedisThatHidesItsConfiguration(t *testing.T) {
	server := servers.StartRedis(t, "--rename-command", "CONFIG", "")
	var said bytes.Buffer
	o, err := Open(server.URL(), 0, slog.New(slog.NewTextHandler(&said, nil)))
	must(t, err)
	t.Cleanup(func() { _ = o.Close() })
	must(t, o.Park(t.Context(), []audit.Sealed{event(t, 1)}))
	server.Kill()
	server.Restart()
	wantCount(t, o, 1, 0) // over a new connection
	if lines := strings.Count(said.String(), "does not show its configuration"); lines != 1 {
		t.Errorf("said %d times, want once:\n%s", lines, &said)
	}
}
