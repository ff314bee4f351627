package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
	"kubernaut.ai/kubernaut/test/servers"
)

// proxied is a store behind a proxy, with a connection that is open.
func (f fixture) proxied(t *testing.T, statement time.Duration) (*postgres.Store, *servers.Proxy) {
	t.Helper()
	owner := f.owner.Config()
	proxy := servers.StartProxy(t, fmt.Sprintf("%s:%d", owner.Host, owner.Port))
	service := url.URL{Scheme: "postgres", User: url.UserPassword(postgres.ServiceRole, password), Path: "/" + owner.Database}
	store, err := postgres.Open(proxy.Through(t, service.String()), postgres.Config{
		ConnectTimeout: 500 * time.Millisecond, StatementTimeout: statement,
	}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(store.Close)
	t.Cleanup(proxy.Restore)                         // so that closing does not wait
	for deadline := time.Now().Add(time.Minute); ; { // what is short for a silence is short for a busy machine, too
		_, err := store.Append(t.Context(), []audit.Sealed{event(t, 1)}) // its month is known now
		if err == nil {
			return store, proxy
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// silence loses whatever is sent from now on.
var silence = servers.Fault{Silence: true}

// silentServer asks over a connection that has gone silent, with a context that never
// ends: whatever writes wait for must end all the same.
func silentServer(t *testing.T, f fixture) {
	for what, ask := range map[string]func(context.Context, *postgres.Store) error{
		"appending an event": func(ctx context.Context, s *postgres.Store) error {
			_, err := s.Append(ctx, []audit.Sealed{event(t, 2)})
			return err
		},
		"making a partition": func(ctx context.Context, s *postgres.Store) error {
			_, err := s.Append(ctx, []audit.Sealed{event(t, 3, func(e *audit.Event) { e.EventTimestamp = noon.AddDate(3, 0, 0) })})
			return err
		},
		"looking for ids": func(ctx context.Context, s *postgres.Store) error {
			_, err := s.Missing(ctx, []uuid.UUID{event(t, 1).Event.EventID})
			return err
		},
		"beginning retention": func(ctx context.Context, s *postgres.Store) error {
			_, err := s.BeginRetention(ctx, uuid.New(), "", 0)
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			store, proxy := f.proxied(t, 500*time.Millisecond)
			proxy.Break(silence)
			ended := make(chan error, 1)
			go func() { ended <- ask(context.WithoutCancel(t.Context()), store) }()
			endsBusy(t, ended)
		})
	}
}

// silentTransaction loses the answer to a statement in the middle of a transaction.
func silentTransaction(t *testing.T, f fixture) {
	store, proxy := f.proxied(t, 2*time.Second)
	ended := make(chan error, 1)
	must(t, pgx.BeginFunc(t.Context(), f.owner, func(other pgx.Tx) error {
		if _, err := other.Exec(t.Context(), "LOCK TABLE audit_event_id"); err != nil {
			return err
		}
		go func() {
			_, err := store.Append(context.WithoutCancel(t.Context()), []audit.Sealed{event(t, 2)})
			ended <- err
		}()
		for waiting := 0; waiting == 0 && len(ended) == 0; {
			waiting = f.number(t, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'audit_event_id'::regclass")
		}
		proxy.Break(silence)
		return nil
	}))
	endsBusy(t, ended)
}

func endsBusy(t *testing.T, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		if !errors.Is(err, datastorage.ErrBusy) {
			t.Errorf("the error is %v, want ErrBusy", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("still waiting after 20 s")
	}
}

// closedUnderSilence closes a store while a transaction waits for an answer.
func closedUnderSilence(t *testing.T, f fixture) {
	store, proxy := f.proxied(t, time.Minute)
	proxy.Break(silence)
	ctx, leave := context.WithTimeout(t.Context(), 20*time.Second)
	defer leave()
	asked := make(chan error, 1)
	go func() { _, err := store.Missing(ctx, []uuid.UUID{uuid.New()}); asked <- err }()
	for used := int32(0); used == 0; used, _, _ = store.Connections() {
		<-time.After(time.Millisecond)
	}
	store.Close()
	select {
	case err := <-asked:
		t.Errorf("closing has waited for what was under way: %v", err)
	default:
	}
	leave()
	<-asked
}
