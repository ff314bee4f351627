package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/test/servers"
)

// storm is writers who record events while everything crashes.
type storm struct {
	t       *testing.T
	client  *api.Client
	writers int

	mu           sync.Mutex
	acknowledged map[uuid.UUID]audit.Digest
	parked       int
}

// TestCrashes kills PostgreSQL, Redis and the service, alone and together, in the
// middle of batches. Every event that was acknowledged must be in PostgreSQL exactly
// once, with the content that was acknowledged.
func TestCrashes(t *testing.T) {
	pg, redis := servers.StartPostgreSQL(t), servers.StartRedis(t)
	owner, service := migrated(t, pg)
	p := newProgram(t, service, redis.URL())
	p.start()
	p.await("/health/ready", http.StatusOK)
	client, err := api.New(p.url(), nil, nil)
	must(t, err)
	s := &storm{t: t, client: client, writers: 16, acknowledged: map[uuid.UUID]audit.Digest{}}

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for w := range s.writers {
		running.Go(func() { s.write(ctx, w) })
	}
	crash := map[string]func(){"postgresql": pg.Kill, "redis": redis.Kill, "service": p.kill}
	revive := map[string]func(){"postgresql": pg.Restart, "redis": redis.Restart, "service": func() { p.start() }}
	for _, together := range crashes() {
		s.progress(40)
		for _, name := range together {
			crash[name]()
		}
		<-time.After(time.Duration(rand.IntN(700)) * time.Millisecond)
		for _, name := range together {
			revive[name]()
		}
		p.await("/health/ready", http.StatusOK)
	}
	s.progress(40)
	stop()
	running.Wait()
	p.awaitRedriven()
	s.verify(owner)
}

// crashes are the rounds of the storm: what is killed at once.
func crashes() [][]string {
	rounds := [][]string{
		{"postgresql"}, {"service"}, {"redis"}, {"postgresql", "service"}, {"redis", "service"},
		{"postgresql", "redis"}, {"postgresql", "redis", "service"},
	}
	if os.Getenv("KUBERNAUT_TEST") != "full" {
		return rounds
	}
	for range 60 { // about ten minutes
		rounds = append(rounds, rounds[rand.IntN(7)])
	}
	return rounds
}

// write records events one after the other until ctx ends. What is not acknowledged
// is sent again, as it is.
func (s *storm) write(ctx context.Context, writer int) {
	for n := 0; ctx.Err() == nil; n++ {
		e := api.AuditEvent{
			EventID: audit.EventID("storm", fmt.Sprint(writer, "/", n)), Version: "1", EventType: "storm", EventCategory: "storm",
			EventAction: "blow", EventOutcome: api.EventOutcomePending, CorrelationID: fmt.Sprint("writer-", writer),
			EventTimestamp: time.Now(), EventData: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)),
		}
		sealed, err := audit.Seal(e)
		if err != nil {
			s.t.Errorf("sealing: %v", err)
			return
		}
		s.until(ctx, sealed)
	}
}

// until sends an event until it is acknowledged.
func (s *storm) until(ctx context.Context, e audit.Sealed) {
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		receipt, err := s.client.Record(attempt, e.Event)
		cancel()
		if err != nil {
			continue
		}
		s.mu.Lock()
		s.acknowledged[receipt.EventID] = e.Digest
		if receipt.Parked {
			s.parked++
		}
		s.mu.Unlock()
		return
	}
}

// progress waits until so many more events are acknowledged.
func (s *storm) progress(events int) {
	s.t.Helper()
	count := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.acknowledged)
	}
	goal := count() + events
	for deadline := time.Now().Add(2 * time.Minute); count() < goal; {
		if time.Now().After(deadline) {
			s.t.Fatalf("%d events are acknowledged, and no more come", count())
		}
		<-time.After(10 * time.Millisecond)
	}
}

// verify compares what was acknowledged with what is there.
func (s *storm) verify(owner string) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), owner)
	must(s.t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(s.t.Context(), `SELECT e.event_id, i.digest, sha256(e.content) = i.digest FROM audit_events e JOIN audit_event_id i USING (event_id)`)
	must(s.t, err)
	there := map[uuid.UUID]bool{}
	var id uuid.UUID
	var digest []byte
	var same bool
	_, err = pgx.ForEachRow(rows, []any{&id, &digest, &same}, func() error {
		if there[id] {
			s.t.Errorf("event %s is there twice", id)
		}
		there[id] = true
		if want, ok := s.acknowledged[id]; !same || ok && want != audit.Digest(digest) {
			s.t.Errorf("event %s has another content", id)
		}
		return nil
	})
	must(s.t, err)
	for id := range s.acknowledged {
		if !there[id] {
			s.t.Errorf("event %s was acknowledged and is lost", id)
		}
	}
	s.t.Logf("%d events acknowledged (%d of them parked), %d there", len(s.acknowledged), s.parked, len(there))
	if s.parked == 0 {
		s.t.Error("no event was parked: the storm was none")
	}
}
