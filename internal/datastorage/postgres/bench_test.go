package postgres_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
	"kubernaut.ai/kubernaut/test/servers"
)

// benchEvents is how many events the benchmarks of reading have: $KUBERNAUT_BENCH_EVENTS,
// 5 million with KUBERNAUT_TEST=full, else a tenth of that.
func benchEvents(b *testing.B) int {
	if text := os.Getenv("KUBERNAUT_BENCH_EVENTS"); text != "" {
		n, err := strconv.Atoi(text)
		must(b, err)
		return n
	}
	if os.Getenv("KUBERNAUT_TEST") == "full" {
		return 5_000_000
	}
	return 500_000
}

// BenchmarkReading measures the reading side on a trail of many events, PostgreSQL
// with fsync beside it. Each measure stands in one line beside its limit.
func BenchmarkReading(b *testing.B) {
	n := benchEvents(b)
	server := servers.StartPostgreSQL(b, "fsync=on", "max_wal_size=4GB")
	url := server.Database()
	must(b, postgres.Migrate(b.Context(), url, password, slog.New(slog.DiscardHandler)))
	f := newFixture(b, url)
	start := time.Now()
	f.fill(b, n)
	b.Logf("%d events were made in %s", n, time.Since(start).Round(time.Second))
	b.Run("correlation_id", func(b *testing.B) { benchCase(b, f, n) })
	b.Run("first-page", func(b *testing.B) { benchFilters(b, f) })
	b.Run("page-1000", func(b *testing.B) { benchPages(b, f) })
	for _, format := range []api.ExportAuditEventsParamsFormat{"ndjson", "csv"} {
		b.Run("export-"+string(format), func(b *testing.B) { benchExport(b, f, format) })
	}
}

// benchCase reads the trails of cases.
func benchCase(b *testing.B, f fixture, n int) {
	var took []time.Duration
	for b.Loop() {
		for i := range 2000 {
			q := datastorage.Query{Limit: 50, Filter: datastorage.Filter{Equals: []datastorage.Equal{{
				Column: "correlation_id", Value: f.text(b, fmt.Sprintf("SELECT 'rr-' || md5('case %d')", i*7919%(n/4))),
			}}}}
			start := time.Now()
			page, err := f.Query(b.Context(), q)
			took = append(took, time.Since(start))
			must(b, err)
			if len(page.Events) != 4 {
				b.Fatalf("%d events of a case, want 4", len(page.Events))
			}
		}
	}
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(p99.Microseconds())/1000, "p99-ms(limit=10)")
}

func (f fixture) text(b testing.TB, sql string) (text string) {
	must(b, f.owner.QueryRow(b.Context(), sql).Scan(&text))
	return text
}

// benchFilters reads the first page by each filter alone: a value that is frequent, one
// that is rare, and one that is nowhere.
func benchFilters(b *testing.B, f fixture) {
	var all []measured
	for b.Loop() {
		all = nil
		for _, c := range benchFilterCases(b, f) {
			var took []time.Duration
			for range 5 {
				start := time.Now()
				_, err := f.Query(b.Context(), datastorage.Query{Filter: c.filter, Limit: 50})
				must(b, err)
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			all = append(all, measured{c.name, took[2]})
		}
	}
	slices.SortFunc(all, func(a, b measured) int { return int(b.took - a.took) })
	for _, m := range all[:8] {
		b.Logf("%-32s %8.2f ms (median of 5; limit 50)", m.name, m.took.Seconds()*1000)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(all[0].took.Seconds()*1000, "slowest-ms(limit=50)")
}

type measured struct {
	name string
	took time.Duration
}

type filterCase struct {
	name   string
	filter datastorage.Filter
}

func benchFilterCases(b *testing.B, f fixture) (cases []filterCase) {
	equal := func(how, column string, value any) {
		cases = append(cases, filterCase{column + ", " + how, datastorage.Filter{Equals: []datastorage.Equal{{Column: column, Value: value}}}})
	}
	for _, field := range audit.Fields {
		equal("nowhere", field.Name, "nowhere")
		var value *string
		must(b, f.owner.QueryRow(b.Context(), `
			SELECT `+field.Name+` FROM audit_events WHERE event_timestamp > '2026-02-10 07:00Z' AND `+field.Name+` IS NOT NULL
			ORDER BY event_timestamp LIMIT 1`).Scan(&value))
		equal("as in the middle", field.Name, *value)
	}
	equal("frequent", "event_outcome", "success")
	equal("one in 80", "event_outcome", "failure")
	equal("nowhere", "event_outcome", "pending")
	equal("rare", "severity", "critical")
	equal("rare", "actor_id", "system:serviceaccount:kubernaut-system:somebody")
	equal("one", "event_id", uuid.MustParse(f.text(b, "SELECT md5('event 4000')::uuid")))
	equal("one", "parent_event_id", uuid.MustParse(f.text(b, "SELECT md5('event 4000')::uuid")))
	day, hour := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), int64(3_600_000)
	return append(cases,
		filterCase{"since and until", datastorage.Filter{Since: day, Until: day.AddDate(0, 0, 1)}},
		filterCase{"received", datastorage.Filter{ReceivedSince: day, ReceivedUntil: day.AddDate(0, 0, 1)}},
		filterCase{"duration_ms, an hour", datastorage.Filter{MinDuration: &hour}},
		filterCase{"duration_ms, any", datastorage.Filter{MinDuration: new(int64)}},
		filterCase{"event_data of a day", datastorage.Filter{Since: day, Until: day.AddDate(0, 0, 1), Data: []datastorage.DataTerm{{
			Path: []string{"workflow", "workflow_id"}, Op: datastorage.OpIs, Text: "workflow-3",
		}}}})
}

// benchPages reads page after page by cursor, and compares the 1,000th with the first.
func benchPages(b *testing.B, f fixture) {
	const limit = 50
	ratio := 0.0
	for b.Loop() {
		var took []time.Duration
		q := datastorage.Query{Limit: limit}
		for range 1010 {
			start := time.Now()
			page, err := f.Query(b.Context(), q)
			must(b, err)
			took = append(took, time.Since(start))
			if q.After = page.Next; q.After == nil {
				b.Fatal("there are too few events for 1,000 pages")
			}
		}
		first, late := slices.Sorted(slices.Values(took[1:21])), slices.Sorted(slices.Values(took[990:1010]))
		b.Logf("page 1: %s, pages 2-21: %s, pages 991-1010: %s (medians)", took[0], first[10], late[10])
		ratio = float64(late[10]) / float64(first[10])
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ratio, "page1000/page1(limit=1.5)")
}

// benchExport exports everything over HTTP, and looks how much memory that takes more.
func benchExport(b *testing.B, f fixture, format api.ExportAuditEventsParamsFormat) {
	handler := datastorage.New(datastorage.Options{
		Trail: f.Store, Reader: f.Store, Overflow: datastorage.NoOverflow{}, Gate: datastorage.OpenGate{},
		Log: slog.New(slog.DiscardHandler), Metrics: datastorage.NewMetrics(),
	}).Handler()
	listener := httptest.NewServer(handler)
	defer listener.Close()
	over := listener.Client()
	c, err := api.New(listener.URL, over, nil)
	must(b, err)
	var rate float64
	var more uint64
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		peak := heapPeak(ctx)
		start := time.Now()
		n, err := c.Export(ctx, api.ExportAuditEventsParams{Format: format}, io.Discard)
		must(b, err)
		rate = float64(n) / time.Since(start).Seconds()
		cancel()
		more = <-peak
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rate, "events/s(limit=50000)")
	b.ReportMetric(float64(more)/(1<<20), "MiB-more(limit=64)")
}

// heapPeak watches the memory that the program has from the system until ctx ends, and
// says how much more it became.
func heapPeak(ctx context.Context) <-chan uint64 {
	runtime.GC()
	read := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before, peak, result := read(), atomic.Uint64{}, make(chan uint64, 1)
	go func() {
		for {
			select {
			case <-ctx.Done():
				result <- peak.Load() - min(before, peak.Load())
				return
			case <-time.After(5 * time.Millisecond):
				peak.Store(max(peak.Load(), read()))
			}
		}
	}()
	return result
}
