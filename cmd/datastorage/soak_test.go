package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/test/servers"
)

// soakFor is how long faults go on: KUBERNAUT_SOAK, 10 minutes in a full test run,
// and one in any other.
func soakFor(t *testing.T) time.Duration {
	t.Helper()
	if text := os.Getenv("KUBERNAUT_SOAK"); text != "" {
		d, err := time.ParseDuration(text)
		must(t, err)
		return d
	}
	if os.Getenv("KUBERNAUT_TEST") == "full" {
		return 10 * time.Minute
	}
	return time.Minute
}

// storm is clients who record events while everything breaks.
type storm struct {
	t       *testing.T
	client  *api.Client
	program *program

	mu           sync.Mutex
	sent         map[uuid.UUID]audit.Digest // what each id named first
	acknowledged map[uuid.UUID]bool
	settled      []audit.Event // some that are in PostgreSQL
	parked       int
	lies         int // other content under an acknowledged id: refused, or parked and moved aside
}

// TestSoak kills PostgreSQL, Redis and the service, alone and together, and breaks the
// connections between them, in the middle of batches. Every event that was
// acknowledged must be in PostgreSQL exactly once with all its fields; every other is
// there once or not at all; and no acknowledged id ever changes its content.
func TestSoak(t *testing.T) {
	pg, redis := servers.StartPostgreSQL(t), servers.StartRedis(t)
	owner, service := migrated(t, pg)
	toPG, toRedis := servers.StartProxy(t, pg.Address()), servers.StartProxy(t, redis.Address())
	p := newProgram(t, toPG.Through(t, service), toRedis.Through(t, redis.URL()))
	config := fmt.Sprintf("listen: %q\nauth: none\ndatabase: {connectTimeout: %s, statementTimeout: %s}\nshutdown: {drain: 100ms}\n",
		p.address, soakConnect, soakStatement)
	must(t, os.WriteFile(p.config, []byte(config), 0o600))
	p.start()
	p.await("/health/ready", http.StatusOK)
	client, err := api.New(p.url(), nil, nil)
	must(t, err)
	s := &storm{t: t, client: client, program: p, sent: map[uuid.UUID]audit.Digest{}, acknowledged: map[uuid.UUID]bool{}}

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := &weather{
		storm: s, random: rand.New(rand.NewPCG(seed, 0)), pg: pg, redis: redis, toPG: toPG, toRedis: toRedis,
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for writer := range 8 {
		running.Go(func() { s.writeSingles(ctx, writer) })
		running.Go(func() { s.writeBatches(ctx, writer, writer%2 == 0) })
	}
	running.Go(func() { s.lie(ctx) })
	w.blow(time.Now().Add(soakFor(t)))
	s.progress(100)
	stop()
	running.Wait()
	w.awaitRedriven()
	s.verify(owner)
}

const lie = "a lie"

// blown makes an event with every field, whose id and content derive from its number.
func (s *storm) blown(writer string, n int) (audit.Sealed, bool) {
	took := int64(n)
	sealed, err := audit.Seal(api.AuditEvent{
		EventID: audit.EventID("storm", fmt.Sprint(writer, "/", n)), Version: "1", EventType: "storm.blown", EventCategory: "storm",
		EventAction: "blow", EventOutcome: api.EventOutcomePending, CorrelationID: "writer-" + writer, EventTimestamp: time.Now(),
		ActorType: "writer", ActorID: writer, ResourceType: "Deployment", ResourceID: "a/b/" + writer, ResourceName: "b", Namespace: "a",
		ClusterName: "soak", Severity: "low", DurationMS: &took, TraceID: strings.Repeat("a", 32), SpanID: strings.Repeat("b", 16),
		ErrorCode: "Storm", ErrorMessage: "漢字\n\"" + writer, EventData: json.RawMessage(fmt.Sprintf(`{"n":%d,"writer":%q}`, n, writer)),
	})
	if err != nil {
		s.t.Errorf("sealing: %v", err)
		return sealed, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[sealed.Event.EventID] = sealed.Digest
	return sealed, true
}

// writeSingles records events one after the other until ctx ends. What is not
// acknowledged is sent again, as it is.
func (s *storm) writeSingles(ctx context.Context, writer int) {
	for n := 0; ctx.Err() == nil; n++ {
		e, ok := s.blown(fmt.Sprint("single-", writer), n)
		for ok && ctx.Err() == nil {
			attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
			receipt, err := s.client.Record(attempt, e.Event)
			cancel()
			if err == nil {
				s.acknowledge(receipt.Parked, e.Event)
				break
			}
			s.neverRefused(err)
		}
	}
}

func (s *storm) neverRefused(err error) {
	if errors.Is(err, api.ErrConflict) || errors.Is(err, api.ErrInvalid) {
		s.t.Errorf("an event that is what its id names was refused: %v", err)
	}
}

// writeBatches records batches until ctx ends. Of those that are not acknowledged it
// gives some up, so that it stays unknown what became of them.
func (s *storm) writeBatches(ctx context.Context, writer int, partial bool) {
	name := fmt.Sprint("batch-", writer)
	for n := 0; ctx.Err() == nil; {
		var batch []api.AuditEvent
		for range 1 + rand.IntN(50) {
			e, ok := s.blown(name, n)
			if !ok {
				return
			}
			n++
			batch = append(batch, e.Event)
		}
		for ctx.Err() == nil && !s.sendBatch(ctx, batch, partial) && rand.IntN(4) > 0 {
			<-time.After(10 * time.Millisecond)
		}
	}
}

// sendBatch sends a batch once and says whether all of it is acknowledged.
func (s *storm) sendBatch(ctx context.Context, batch []api.AuditEvent, partial bool) bool {
	var results api.BatchResults
	status := s.post(ctx, fmt.Sprintf("/api/v1/audit/events/batch?partial=%v", partial), batch, &results)
	switch status {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted:
		s.acknowledge(status == http.StatusAccepted, batch...)
		return true
	case http.StatusMultiStatus:
		all := true
		for i, r := range results.Results {
			if r.Status < 300 {
				s.acknowledge(r.Status == http.StatusAccepted, batch[i])
			}
			all = all && r.Status < 300
			if r.Status == http.StatusConflict || r.Status == http.StatusBadRequest {
				s.t.Errorf("an event of a batch was refused: %+v", r)
			}
		}
		return all
	case http.StatusConflict, http.StatusBadRequest:
		s.t.Errorf("a batch was refused with %d", status)
	}
	return false
}

// post sends JSON and returns the status, 0 when nobody answered. A success is read
// into an answer.
func (s *storm) post(ctx context.Context, path string, body, into any) int {
	raw, err := json.Marshal(body)
	if err != nil {
		s.t.Errorf("writing a request: %v", err)
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.program.url()+path, bytes.NewReader(raw))
	if err != nil {
		s.t.Errorf("making a request: %v", err)
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode < 300 && json.NewDecoder(res.Body).Decode(into) != nil {
		return 0 // cut off
	}
	return res.StatusCode
}

// lie sends other content under ids that are in PostgreSQL, until ctx ends.
func (s *storm) lie(ctx context.Context) {
	for ctx.Err() == nil {
		s.mu.Lock()
		var e audit.Event
		if n := len(s.settled); n > 0 {
			e = s.settled[rand.IntN(n)]
		}
		s.mu.Unlock()
		if e.EventID != uuid.Nil {
			e.ErrorMessage = lie
			switch status := s.post(ctx, "/api/v1/audit/events", e, &api.EventAcknowledgement{}); status {
			case http.StatusConflict, http.StatusAccepted: // nobody knows while PostgreSQL is away
				s.mu.Lock()
				s.lies++
				s.mu.Unlock()
			case http.StatusOK, http.StatusCreated:
				s.t.Errorf("other content under the acknowledged id %s was answered with %d", e.EventID, status)
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (s *storm) acknowledge(parked bool, events ...api.AuditEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		s.acknowledged[e.EventID] = true
		if parked {
			s.parked++
		} else if len(s.settled) < 1000 {
			s.settled = append(s.settled, e)
		}
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

// verify compares what was acknowledged with what is there, in the columns, too.
func (s *storm) verify(owner string) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), owner)
	must(s.t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(s.t.Context(), `
		SELECT e.event_id, i.digest, sha256(e.content) = i.digest AND e.event_timestamp = i.event_timestamp AND
			(e.version, e.event_type, e.event_category, e.event_action, e.event_outcome, e.correlation_id, e.resource_type, e.resource_id,
			e.resource_name, e.namespace, e.cluster_name, e.severity, e.trace_id, e.span_id, e.error_code, e.error_message,
			e.duration_ms::text) IS NOT DISTINCT FROM
			(c ->> 'version', c ->> 'event_type', c ->> 'event_category', c ->> 'event_action', c ->> 'event_outcome', c ->> 'correlation_id',
			c ->> 'resource_type', c ->> 'resource_id', c ->> 'resource_name', c ->> 'namespace', c ->> 'cluster_name', c ->> 'severity',
			c ->> 'trace_id', c ->> 'span_id', c ->> 'error_code', c ->> 'error_message', c ->> 'duration_ms')
			AND e.event_data = c -> 'event_data' AND e.actor_type = 'writer' AND e.actor_id = e.event_data ->> 'writer'
		FROM audit_events e JOIN audit_event_id i USING (event_id), LATERAL (SELECT convert_from(e.content, 'UTF8')::jsonb AS c) AS x`)
	must(s.t, err)
	there := map[uuid.UUID]bool{}
	var id uuid.UUID
	var digest []byte
	var whole bool
	_, err = pgx.ForEachRow(rows, []any{&id, &digest, &whole}, func() error {
		if there[id] {
			s.t.Errorf("event %s is there twice", id)
		}
		there[id] = true
		if s.sent[id] != audit.Digest(digest) || !whole {
			s.t.Errorf("event %s has another content than was sent, or columns that differ from it", id)
		}
		return nil
	})
	must(s.t, err)
	for id := range s.acknowledged {
		if !there[id] {
			s.t.Errorf("event %s was acknowledged and is lost", id)
		}
	}
	s.t.Logf("%d events sent, %d acknowledged (%d times parked), %d there; %d lies refused",
		len(s.sent), len(s.acknowledged), s.parked, len(there), s.lies)
	if s.parked == 0 || s.lies == 0 {
		s.t.Error("no event was parked, or nobody lied: the storm was none")
	}
}
