package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

// summaryKeys are what events can be grouped by, in SQL.
var summaryKeys = map[api.SummaryKey]string{
	api.SummaryKeyEventType:     "event_type",
	api.SummaryKeyEventCategory: "event_category",
	api.SummaryKeyEventAction:   "event_action",
	api.SummaryKeyEventOutcome:  "event_outcome",
	api.SummaryKeyWorkflow:      "event_data #>> '{workflow,workflow_id}'",
	api.SummaryKeyTarget:        "event_data ->> 'target'",
	api.SummaryKeyNamespace:     "namespace",
	api.SummaryKeyClusterName:   "cluster_name",
	api.SummaryKeyResourceType:  "resource_type",
	api.SummaryKeyActorID:       "actor_id",
	api.SummaryKeySeverity:      "severity",
	api.SummaryKeyErrorCode:     "error_code",
}

// Summarize counts events by group.
func (s *Store) Summarize(ctx context.Context, q datastorage.SummaryQuery) (groups []api.SummaryGroup, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.StatementTimeout+s.config.ConnectTimeout)
	defer cancel()
	sql, args := summaryOf(q)
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, false, unread("summarizing events", err)
	}
	groups, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (api.SummaryGroup, error) { return summaryGroup(row, q) })
	if err != nil {
		return nil, false, unread("summarizing events", err)
	}
	if len(groups) > q.Limit {
		return groups[:q.Limit], true, nil
	}
	return groups, false, nil
}

func summaryOf(q datastorage.SummaryQuery) (sql string, args []any) {
	w := filtered(q.Filter)
	bucket := "NULL::timestamptz"
	if q.Bucket != "" {
		w.args = append(w.args, q.Bucket)
		bucket = fmt.Sprintf("date_trunc($%d, event_timestamp, 'UTC')", len(w.args))
	}
	keys := []string{bucket + " AS bucket"}
	names := []string{"bucket"}
	for i, key := range q.By {
		keys = append(keys, fmt.Sprintf("%s AS key%d", summaryKeys[key], i))
		names = append(names, fmt.Sprintf("key%d", i))
	}
	grouped := strings.Join(names, ", ")
	return fmt.Sprintf(`
		SELECT %s, count(*), count(duration_ms), sum(duration_ms)::float8, min(duration_ms), avg(duration_ms)::float8,
			percentile_disc(0.5) WITHIN GROUP (ORDER BY duration_ms), percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_ms),
			max(duration_ms)
		FROM (SELECT %s, duration_ms FROM audit_events WHERE %s) AS counted
		GROUP BY %s ORDER BY bucket, count(*) DESC, %s LIMIT %d`,
		grouped, strings.Join(keys, ", "), w.sql(), grouped, grouped, q.Limit+1), w.args
}

// summaryGroup reads one row: the bucket, the keys, the counts and the durations.
func summaryGroup(row pgx.CollectableRow, q datastorage.SummaryQuery) (api.SummaryGroup, error) {
	g := api.SummaryGroup{Group: map[string]string{}}
	var bucket *time.Time
	keys := make([]*string, len(q.By))
	into := []any{&bucket}
	for i := range keys {
		into = append(into, &keys[i])
	}
	var d struct {
		count              int64
		sum, avg           *float64
		min, p50, p95, max *int64
	}
	into = append(into, &g.Count, &d.count, &d.sum, &d.min, &d.avg, &d.p50, &d.p95, &d.max)
	if err := row.Scan(into...); err != nil {
		return g, err
	}
	for i, key := range keys {
		if key != nil {
			g.Group[string(q.By[i])] = *key
		}
	}
	if bucket != nil {
		g.Bucket = bucket.UTC()
	}
	if d.count > 0 {
		g.Durations = &api.Durations{
			Count: d.count, SumMS: *d.sum, MinMS: *d.min, AvgMS: *d.avg, P50MS: *d.p50, P95MS: *d.p95, MaxMS: *d.max,
		}
	}
	return g, nil
}
