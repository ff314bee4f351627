package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage/overflow"
	"kubernaut.ai/kubernaut/test/servers"
)

const (
	perBatch = 500
	clients  = 8
	rounds   = 20 // batches of each client
)

// BenchmarkWrites measures what Data Storage takes, on one machine with its servers,
// each beside its limit: fsync is on.
func BenchmarkWrites(b *testing.B) {
	pg, redis := servers.StartPostgreSQL(b, "fsync=on"), servers.StartRedis(b)
	b.Run("copy", func(b *testing.B) { benchmarkCopy(b, pg) })
	_, service := migrated(b, pg)
	p := newProgram(b, service, redis.URL())
	p.start()
	p.await("/health/ready", http.StatusOK)
	b.Run("batches", func(b *testing.B) { benchmarkBatches(b, p) })
	b.Run("singles", func(b *testing.B) { benchmarkSingles(b, p) })
	b.Run("paced", func(b *testing.B) { benchmarkPaced(b, p) })
	b.Run("redrive", func(b *testing.B) { benchmarkRedrive(b, pg, redis) })
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
			b.ReportMetric(p.peak(), "MiB(limit=128)")
		}
	})
}

// numbers makes the ids of all runs differ.
var numbers atomic.Int64

// realistic makes an event like those of the controller.
func realistic(b testing.TB) audit.Sealed {
	n := numbers.Add(1)
	took := n % 100_000
	sealed, err := audit.Seal(api.AuditEvent{
		EventID: audit.EventID("bench", fmt.Sprint(n)), Version: "1", EventType: "workflowexecution.run.started",
		EventCategory: "workflowexecution", EventAction: "started", EventOutcome: api.EventOutcomeSuccess,
		CorrelationID: fmt.Sprint("rr-payment-api-", n/8), EventTimestamp: time.Now(), ActorType: "serviceaccount",
		ActorID: "system:serviceaccount:kubernaut-system:kubernaut-controller", ResourceType: "WorkflowExecution",
		ResourceID: uuid.NewString(), ResourceName: fmt.Sprint("payment-api-memory-", n), Namespace: "payment", ClusterName: "local", DurationMS: &took,
		EventData: json.RawMessage(fmt.Sprintf(`{"target":"payment/deployment.apps/payment-api","target_resource":"payment/deployment/payment-api",`+
			`"workflow":{"workflow_id":"increase-memory","version":"1.0.0","image":"registry.kubernaut-system.svc:5000/workflows/increase-memory"},`+
			`"run":{"name":"payment-api-memory-%d","namespace":"kubernaut-workflows"},"parameters":["MEMORY_LIMIT"]}`, n)),
	})
	must(b, err)
	sealed.ReceivedAt = time.Now().UTC().Truncate(time.Microsecond)
	return sealed
}

func batchOf(b testing.TB, n int) []audit.Sealed {
	batch := make([]audit.Sealed, n)
	for i := range batch {
		batch[i] = realistic(b)
	}
	return batch
}

// benchmarkCopy copies batches into the same two tables, with nothing around it.
func benchmarkCopy(b *testing.B, pg *servers.Postgres) {
	owner, _ := migrated(b, pg)
	for b.Loop() {
		b.StopTimer()
		work := make([][][]audit.Sealed, clients)
		for c := range work {
			for range rounds {
				work[c] = append(work[c], batchOf(b, perBatch))
			}
		}
		b.StartTimer()
		start := time.Now()
		inParallel(clients, func(c int) {
			conn, err := pgx.Connect(b.Context(), owner)
			must(b, err)
			defer func() { _ = conn.Close(context.Background()) }()
			for _, batch := range work[c] {
				copyBatch(b, conn, batch)
			}
		})
		copied = clients * rounds * perBatch / time.Since(start).Seconds()
		b.ReportMetric(copied, "events/s")
	}
}

// copied is the rate of the bare COPY, to compare with.
var copied float64

func inParallel(n int, do func(i int)) {
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() { do(i) })
	}
	running.Wait()
}

var idColumns, eventColumns = []string{"event_id", "digest", "event_timestamp"}, []string{
	"event_timestamp", "event_id", "epoch", "received_at", "duration_ms", "version", "event_type", "event_category", "event_action",
	"event_outcome", "correlation_id", "actor_type", "actor_id", "resource_type", "resource_id", "resource_name", "namespace",
	"cluster_name", "event_data", "content",
}

func copyBatch(b *testing.B, conn *pgx.Conn, batch []audit.Sealed) {
	must(b, pgx.BeginFunc(b.Context(), conn, func(tx pgx.Tx) error {
		_, err := tx.CopyFrom(b.Context(), pgx.Identifier{"audit_event_id"}, idColumns, pgx.CopyFromSlice(len(batch), func(i int) ([]any, error) {
			return []any{batch[i].Event.EventID, batch[i].Digest[:], batch[i].Event.EventTimestamp}, nil
		}))
		if err != nil {
			return err
		}
		_, err = tx.CopyFrom(b.Context(), pgx.Identifier{"audit_events"}, eventColumns, pgx.CopyFromSlice(len(batch), func(i int) ([]any, error) {
			e := &batch[i].Event
			return []any{
				e.EventTimestamp, e.EventID, int16(1), batch[i].ReceivedAt, e.DurationMS, e.Version, e.EventType, e.EventCategory, e.EventAction,
				string(e.EventOutcome), e.CorrelationID, e.ActorType, e.ActorID, e.ResourceType, e.ResourceID, e.ResourceName, e.Namespace,
				e.ClusterName, []byte(e.EventData), batch[i].Content,
			}, nil
		}))
		return err
	}))
}

var generous = &http.Client{Transport: &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 256}, Timeout: time.Minute}

// send posts a body and expects a status.
func send(b testing.TB, url string, body []byte, want int) {
	res, err := generous.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		b.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if res.StatusCode != want {
		b.Errorf("status %d, want %d", res.StatusCode, want)
	}
}

func bodyOf(b testing.TB, batch []audit.Sealed) []byte {
	events := make([]api.AuditEvent, len(batch))
	for i := range batch {
		events[i] = batch[i].Event
	}
	raw, err := json.Marshal(events)
	must(b, err)
	return raw
}

func benchmarkBatches(b *testing.B, p *program) {
	for b.Loop() {
		b.StopTimer()
		work := make([][][]byte, clients)
		for c := range work {
			for range rounds {
				work[c] = append(work[c], bodyOf(b, batchOf(b, perBatch)))
			}
		}
		b.StartTimer()
		start := time.Now()
		inParallel(clients, func(c int) {
			for _, body := range work[c] {
				send(b, p.url()+"/api/v1/audit/events/batch", body, http.StatusCreated)
			}
		})
		rate := clients * rounds * perBatch / time.Since(start).Seconds()
		b.ReportMetric(rate, "events/s(limit=8000)")
		if copied > 0 {
			b.ReportMetric(rate/copied, "of-copy(limit=0.5)")
		}
	}
}

func singleBodies(b testing.TB, n int) [][]byte {
	bodies := make([][]byte, n)
	for i := range bodies {
		raw, err := json.Marshal(realistic(b).Event)
		must(b, err)
		bodies[i] = raw
	}
	return bodies
}

func benchmarkSingles(b *testing.B, p *program) {
	const clients, each = 64, 250
	for b.Loop() {
		b.StopTimer()
		bodies := singleBodies(b, clients*each)
		b.StartTimer()
		start := time.Now()
		inParallel(clients, func(c int) {
			for _, body := range bodies[c*each : (c+1)*each] {
				send(b, p.url()+"/api/v1/audit/events", body, http.StatusCreated)
			}
		})
		b.ReportMetric(clients*each/time.Since(start).Seconds(), "events/s(limit=3000)")
	}
}

// benchmarkPaced sends an event each millisecond, and counts from when it was due.
func benchmarkPaced(b *testing.B, p *program) {
	const events, every = 10_000, time.Millisecond
	for b.Loop() {
		b.StopTimer()
		bodies := singleBodies(b, events)
		took := make([]time.Duration, events)
		b.StartTimer()
		start := time.Now()
		var next atomic.Int64
		inParallel(256, func(int) {
			for {
				i := int(next.Add(1)) - 1
				if i >= events {
					return
				}
				due := start.Add(time.Duration(i) * every)
				<-time.After(time.Until(due))
				send(b, p.url()+"/api/v1/audit/events", bodies[i], http.StatusCreated)
				took[i] = time.Since(due)
			}
		})
		slices.Sort(took)
		b.ReportMetric(took[events/2].Seconds()*1000, "p50-ms")
		b.ReportMetric(took[events*99/100].Seconds()*1000, "p99-ms(limit=25)")
	}
}

// benchmarkRedrive parks events while PostgreSQL is away, and measures how fast they
// move when it is back.
func benchmarkRedrive(b *testing.B, pg *servers.Postgres, redis *servers.RedisServer) {
	const events = 50_000
	for b.Loop() {
		b.StopTimer()
		pg.Stop()
		parked, err := overflow.Open(redis.URL(), 0, slog.New(slog.DiscardHandler))
		must(b, err)
		for range events / perBatch {
			must(b, parked.Park(b.Context(), batchOf(b, perBatch)))
		}
		pg.Restart()
		b.StartTimer()
		start := awaitCount(b, parked, events-1) // from when it has begun
		end := awaitCount(b, parked, 0)
		b.ReportMetric(events/end.Sub(start).Seconds(), "events/s(limit=5000)")
		must(b, parked.Close())
	}
}

// awaitCount waits until at most so many events wait.
func awaitCount(t testing.TB, parked *overflow.Overflow, most int64) time.Time {
	t.Helper()
	fewest, deadline := int64(math.MaxInt64), time.Time{}
	for {
		n, _, err := parked.Count(t.Context())
		must(t, err)
		switch {
		case n <= most:
			return time.Now()
		case n < fewest:
			fewest, deadline = n, time.Now().Add(time.Minute)
		case time.Now().After(deadline):
			t.Fatalf("%d events still wait, and none has moved for a minute", n)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// peak is the most memory that the program had at once, in MiB.
func (p *program) peak() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	must(p.t, err)
	kib, err := strconv.ParseFloat(string(regexp.MustCompile(`VmHWM:\s+(\d+)`).FindSubmatch(status)[1]), 64)
	must(p.t, err)
	return kib / 1024
}
