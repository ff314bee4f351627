package postgres_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
	"kubernaut.ai/kubernaut/test/servers"
)

var update = flag.Bool("update", false, "write the plans anew")

// fill makes many events, as testdata/many.sql describes them: not all at once,
// for the disk holds each three times while it is made.
func (f fixture) fill(t testing.TB, n int) {
	t.Helper()
	const atOnce = 500_000
	sql, err := os.ReadFile("testdata/many.sql")
	must(t, err)
	for from := 0; from < n; from += atOnce {
		f.script(t, "SET timezone = 'UTC';\n"+fmt.Sprintf(string(sql), n, from, min(from+atOnce, n)))
	}
	f.script(t, "VACUUM ANALYZE audit_events;\nVACUUM ANALYZE audit_event_id")
}

// script executes statements, each for itself.
func (f fixture) script(t testing.TB, script string) {
	t.Helper()
	for statement := range strings.SplitSeq(script, ";\n") { // VACUUM stands alone
		_, err := f.owner.Exec(t.Context(), statement)
		must(t, err)
	}
}

// readings are the statements whose plans are kept, in order.
func readings() (all []reading) {
	day := time.Date(2026, 2, 14, 0, 0, 0, 0, time.UTC)
	page := func(what string, f datastorage.Filter) {
		sql, args := postgres.Statements.Page(datastorage.Query{Filter: f, Limit: 50})
		all = append(all, reading{"page: " + what, sql, args})
	}
	equal := func(column string, value any) {
		page(column, datastorage.Filter{Equals: []datastorage.Equal{{Column: column, Value: value}}})
	}
	page("newest of all", datastorage.Filter{})
	page("of one day", datastorage.Filter{Since: day, Until: day.AddDate(0, 0, 1)})
	for _, field := range audit.Fields {
		equal(field.Name, "rare")
	}
	equal("event_outcome", "pending")
	equal("event_id", uuid.Max)
	equal("parent_event_id", uuid.Max)
	page("event_type, frequent", datastorage.Filter{Equals: []datastorage.Equal{{Column: "event_type", Value: "workflowexecution.started"}}})
	page("namespace, frequent", datastorage.Filter{Equals: []datastorage.Equal{{Column: "namespace", Value: "team-7"}}})
	hour := int64(3_600_000)
	page("took an hour", datastorage.Filter{MinDuration: &hour})
	page("event_data of one day", datastorage.Filter{
		Since: day, Until: day.AddDate(0, 0, 1), Data: []datastorage.DataTerm{{Path: []string{"target"}, Op: datastorage.OpIs, Text: "x"}},
	})
	page("received on one day", datastorage.Filter{ReceivedSince: day, ReceivedUntil: day.AddDate(0, 0, 1)})
	page("received on one day, and not older", datastorage.Filter{Since: day, ReceivedSince: day, ReceivedUntil: day.AddDate(0, 0, 1)})
	page("received before", datastorage.Filter{ReceivedUntil: day})
	sql, args := postgres.Statements.Page(datastorage.Query{Ascending: true, Limit: 1000, Filter: datastorage.Filter{
		Equals: []datastorage.Equal{{Column: "resource_id", Value: "x"}, {Column: "event_category", Value: "workflowexecution"}},
	}})
	all = append(all, reading{"completeness: of one execution", sql, args})
	place := datastorage.Place{Snapshot: "100000:100000:", Timestamp: day, EventID: uuid.Max}
	sql, args = postgres.Statements.Page(datastorage.Query{Limit: 50, After: &place})
	all = append(all, reading{"page: after a cursor", sql, args})
	sql, args = postgres.Statements.Count(datastorage.Filter{Equals: []datastorage.Equal{{Column: "correlation_id", Value: "x"}}})
	all = append(all, reading{"count: correlation_id", sql, args})
	sql, args = postgres.Statements.Part(datastorage.Query{Ascending: true, After: &place}, place)
	all = append(all, reading{"export: after a part", sql, args})
	sql, args = postgres.Statements.Feed(datastorage.Filter{}, datastorage.Position{XID: 500}, datastorage.Position{XID: 510})
	all = append(all, reading{"feed: after a position", sql, args})
	sql, args = postgres.Statements.Summary(datastorage.SummaryQuery{
		Filter: datastorage.Filter{Since: day, Until: day.AddDate(0, 0, 1)}, By: []api.SummaryKey{api.SummaryKeyWorkflow}, Bucket: "day", Limit: 50,
	})
	return append(all, reading{"summary: of a day", sql, args})
}

// readingsBeside are the statements that read something else than events.
func readingsBeside() []reading {
	ids := []uuid.UUID{uuid.Max, uuid.New()}
	all := []reading{
		{"ids: which name no event", postgres.Statements.Missing, []any{ids}},
		{"ids: what they name", postgres.Statements.Digests, []any{ids}},
		{"holds: one", postgres.Statements.OneHold, []any{uuid.Max}},
		{"holds: of one case", postgres.Statements.ManyHolds, []any{"rr-x", false}},
		{"holds: all that stand", postgres.Statements.ManyHolds, []any{"", false}},
		{"catalog: one version", postgres.Statements.OneWorkflow, []any{uuid.Max}},
	}
	for _, c := range []struct {
		what  string
		query datastorage.WorkflowQuery
	}{
		{"a page", datastorage.WorkflowQuery{Limit: 50, Offset: 100}},
		{"a page of the latest", datastorage.WorkflowQuery{Limit: 50, Latest: true}},
		{"versions of one", datastorage.WorkflowQuery{Limit: 1000, Name: "heal-7"}},
		{"one by its version", datastorage.WorkflowQuery{Limit: 50, Name: "heal-7", Version: "1.1.0"}},
	} {
		sql, args := postgres.Statements.WorkflowPage(c.query)
		count, counted := postgres.Statements.WorkflowCount(c.query)
		all = append(all, reading{"catalog: " + c.what, sql, args}, reading{"catalog: count of " + c.what, count, counted})
	}
	sql, args := postgres.Statements.Labelled(api.WorkflowFilters{
		SignalType: "signal-7", Severity: "critical", Component: "component-1", Environment: "production", Priority: "P1",
	})
	return append(all, reading{"catalog: a search", sql, args})
}

type reading struct {
	what string
	sql  string
	args []any
}

// plansAreKept compares the plan of each statement with testdata/plans.txt: which
// nodes, which indexes, and how many partitions. Run with -update to write it anew.
func plansAreKept(t *testing.T, f fixture) {
	f.fill(t, 60_000)
	beside, err := os.ReadFile("testdata/beside.sql")
	must(t, err)
	f.script(t, string(beside))
	service, err := pgx.Connect(t.Context(), f.url+" options='-c max_parallel_workers_per_gather=0 -c jit=off -c timezone=UTC -c plan_cache_mode=force_custom_plan'")
	must(t, err)
	defer service.Close(t.Context())
	parents := f.indexes(t)
	var got strings.Builder
	got.WriteString("# How PostgreSQL reads: `go test ./internal/datastorage/postgres -run TestStore/plans -update` writes this anew.\n")
	for _, r := range append(readings(), readingsBeside()...) {
		var raw []byte
		must(t, service.QueryRow(t.Context(), "EXPLAIN (FORMAT JSON) "+r.sql, r.args...).Scan(&raw))
		var plans []struct{ Plan node }
		must(t, json.Unmarshal(raw, &plans))
		fmt.Fprintf(&got, "\n%s\n", r.what)
		for _, line := range plans[0].Plan.lines(parents) {
			got.WriteString("  " + line + "\n")
		}
	}
	if version := servers.PostgreSQLVersion(t); version != servers.Debians {
		t.Skipf("the plans are kept of PostgreSQL %s, this is %s", servers.Debians, version)
	}
	const file = "testdata/plans.txt"
	if *update {
		must(t, os.WriteFile(file, []byte(got.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("PostgreSQL reads otherwise (-want +got):\n%s", diff)
	}
}

// indexes are the indexes of partitions, with that of the whole table which each is
// a part of.
func (f fixture) indexes(t *testing.T) map[string]string {
	t.Helper()
	rows, err := f.owner.Query(t.Context(), `
		SELECT c.relname, p.relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid JOIN pg_class p ON p.oid = inhparent
		WHERE c.relkind = 'i'`)
	must(t, err)
	parents := map[string]string{}
	var child, parent string
	_, err = pgx.ForEachRow(rows, []any{&child, &parent}, func() error { parents[child] = parent; return nil })
	must(t, err)
	return parents
}

// node is one node of a plan.
type node struct {
	Type  string `json:"Node Type"`
	Index string `json:"Index Name"`
	Table string `json:"Relation Name"`
	Plans []node
}

// lines writes a plan without what differs from run to run: costs, the names of
// partitions, and partitions that have no rows.
func (n node) lines(parents map[string]string) []string {
	var below [][]string
	for _, p := range n.Plans {
		below = append(below, p.lines(parents))
	}
	if n.Type == "Append" || n.Type == "Merge Append" {
		return n.joined(below)
	}
	name := n.Type
	if n.Index != "" {
		index := n.Index
		if parent, ok := parents[index]; ok {
			index = parent
		}
		name += " by " + index
	} else if n.Table != "" {
		name += " of " + strings.TrimRight(n.Table, "_0123456789")
	}
	lines := []string{name}
	for _, b := range below {
		for _, line := range b {
			lines = append(lines, "  "+line)
		}
	}
	return lines
}

// joined writes how partitions are read: each way once. The months around now have no
// rows, and are read in passing.
func (n node) joined(below [][]string) []string {
	ways := map[string]int{}
	for i, b := range below {
		if text := strings.Join(b, "\n"); n.Plans[i].month() < "audit_events_202604" {
			ways[text]++
		}
	}
	lines := []string{n.Type + " of partitions"}
	for _, way := range slices.Sorted(maps.Keys(ways)) {
		for i, line := range strings.Split(way, "\n") {
			if i == 0 {
				line = fmt.Sprintf("%d × %s", ways[way], line)
			}
			lines = append(lines, "  "+line)
		}
	}
	return lines
}

// month is the partition that a node reads.
func (n node) month() string {
	if n.Table != "" {
		return n.Table
	}
	for _, p := range n.Plans {
		if month := p.month(); month != "" {
			return month
		}
	}
	return ""
}
