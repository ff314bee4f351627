package postgres_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
)

// What reading 100 MiB may take at once, and how many of the large things there are.
const (
	onePage = 32 << 20
	large   = 1000
)

// allocated is how much memory do takes, also what it gives back meanwhile.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// largeEvents reads a thousand events of 100 KiB each, by cursor, by offset and by the
// feed. Each way reaches all of them, and takes the memory of a few.
func largeEvents(t *testing.T, f fixture) {
	for part := range large / 100 {
		var batch []audit.Sealed
		for n := range 100 {
			batch = append(batch, event(t, part*100+n, func(e *audit.Event) {
				e.EventData = fmt.Appendf(nil, `{"big":"%0102400d"}`, n)
			}))
		}
		_, err := f.Append(t.Context(), batch)
		must(t, err)
	}
	f.pagesOfLargeEvents(t, "cursor", func(q *datastorage.Query, page datastorage.Page) { q.After = page.Next })
	f.pagesOfLargeEvents(t, "offset", func(q *datastorage.Query, page datastorage.Page) { q.Offset += len(page.Events) })
	f.partsOfLargeEvents(t)
	f.sendsNoMoreThanIsTaken(t)
}

// sendsNoMoreThanIsTaken: of rows that are not read, none is sent but the next.
func (f fixture) sendsNoMoreThanIsTaken(t *testing.T) {
	t.Helper()
	all := datastorage.Query{Limit: large}
	now, end := datastorage.Place{Snapshot: "4000000:4000000:", Epoch: 99}, datastorage.Position{Epoch: 99}
	for what, ask := range map[string]func() (string, []any){
		"page": func() (string, []any) { return postgres.Statements.Page(all) },
		"part": func() (string, []any) { return postgres.Statements.Part(all, now) },
		"feed": func() (string, []any) { return postgres.Statements.Feed(all.Filter, datastorage.Position{}, end) },
	} {
		sql, args := ask()
		rows, err := f.owner.Query(t.Context(), sql, args...)
		must(t, err)
		n := 0
		for rows.Next() {
			n++
		}
		must(t, rows.Err())
		if n < 2 || n > 4<<20/(100<<10)+2 {
			t.Errorf("%s: %d rows of 100 KiB are sent, want those of 4 MiB and one more at most", what, n)
		}
	}
}

func (f fixture) pagesOfLargeEvents(t *testing.T, by string, turn func(*datastorage.Query, datastorage.Page)) {
	t.Helper()
	seen, q := map[uuid.UUID]bool{}, datastorage.Query{Limit: large}
	for more := true; more; {
		var page datastorage.Page
		var err error
		if size := allocated(func() { page, err = f.Query(t.Context(), q) }); size > onePage {
			t.Errorf("by %s: a page of %d events took %d MiB", by, len(page.Events), size>>20)
		}
		must(t, err)
		if page.Total != large || page.TotalIsMinimum {
			t.Errorf("by %s: total %d, minimum %v", by, page.Total, page.TotalIsMinimum)
		}
		for _, id := range ids(page) {
			seen[id] = true
		}
		turn(&q, page)
		more = page.Next != nil
	}
	if len(seen) != large {
		t.Errorf("by %s: %d events came, want %d", by, len(seen), large)
	}
}

func (f fixture) partsOfLargeEvents(t *testing.T) {
	t.Helper()
	seen := map[uuid.UUID]bool{}
	position := datastorage.Position{}
	for caughtUp := false; !caughtUp; {
		var batch datastorage.Batch
		var err error
		if size := allocated(func() { batch, err = f.Feed(t.Context(), datastorage.Filter{}, &position) }); size > onePage/8 {
			t.Errorf("a part of the feed with %d events took %d MiB", len(batch.Events), size>>20)
		}
		must(t, err)
		for _, e := range batch.Events {
			seen[e.EventID] = true
		}
		position, caughtUp = batch.Next, batch.CaughtUp
	}
	if len(seen) != large {
		t.Errorf("by the feed %d events came, want %d", len(seen), large)
	}
}

// largeWorkflows lists versions as large as they may be, and finds them without what is
// large in them.
func largeWorkflows(t *testing.T, f fixture) {
	const number = 50
	for n := range number {
		_, _, err := f.Create(t.Context(), spec("1.0.0", func(s *api.WorkflowSpec) {
			s.WorkflowName = fmt.Sprint("large-", n)
			s.Content = strings.Repeat("x", 256<<10)
			s.ContentHash = catalog.Hash(s.Content)
			s.Parameters = []api.WorkflowParameter{{Name: "FACTOR"}}
		}))
		must(t, err)
	}
	seen, q := map[string]bool{}, datastorage.WorkflowQuery{Limit: large}
	for len(seen) < number {
		var page datastorage.WorkflowPage
		var err error
		if size := allocated(func() { page, err = f.List(t.Context(), q) }); size > onePage {
			t.Errorf("a page of %d workflows took %d MiB", len(page.Workflows), size>>20)
		}
		must(t, err)
		if page.Total != number || len(page.Workflows) == 0 || len(page.Workflows) > 17 {
			t.Fatalf("at %d: %d workflows of %d", q.Offset, len(page.Workflows), page.Total)
		}
		for _, w := range page.Workflows {
			seen[w.WorkflowName] = true
		}
		q.Offset += len(page.Workflows)
	}
	found, err := f.Labelled(t.Context(), api.WorkflowFilters{
		SignalType: "OOMKilled", Severity: "critical", Component: "pod", Environment: "production", Priority: "P1",
	})
	must(t, err)
	for _, w := range found {
		if w.Content != "" || len(w.Parameters) > 0 || w.ContentHash == "" {
			t.Fatalf("a candidate comes with %d bytes of content and %d parameters", len(w.Content), len(w.Parameters))
		}
	}
	if len(found) != number {
		t.Errorf("%d candidates, want %d", len(found), number)
	}
}
