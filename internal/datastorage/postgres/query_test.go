package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

func queryByEachMember(t *testing.T, f fixture) {
	want := event(t, 1, full)
	_, err := f.Append(t.Context(), []audit.Sealed{want, event(t, 2, func(e *audit.Event) {
		e.Version, e.EventType, e.EventCategory, e.EventAction, e.CorrelationID = "2", "other", "other", "other", "other"
	})})
	must(t, err)
	equals := []datastorage.Equal{
		{Column: "event_id", Value: want.Event.EventID},
		{Column: "parent_event_id", Value: want.Event.ParentEventID},
		{Column: "event_outcome", Value: "failure"},
	}
	for _, field := range audit.Fields {
		equals = append(equals, datastorage.Equal{Column: field.Name, Value: field.Get(&want.Event)})
	}
	for _, equal := range equals {
		page, err := f.Query(t.Context(), datastorage.Query{Filter: datastorage.Filter{Equals: []datastorage.Equal{equal}}, Limit: 10})
		must(t, err)
		if diff := cmp.Diff([]uuid.UUID{want.Event.EventID}, ids(page)); diff != "" || page.Total != 1 {
			t.Errorf("by %s: total %d, (-want +got):\n%s", equal.Column, page.Total, diff)
		}
	}
}

func queryByTime(t *testing.T, f fixture) {
	for n := range 5 {
		_, err := f.Append(t.Context(), []audit.Sealed{event(t, n)})
		must(t, err)
	}
	page, err := f.Query(t.Context(), datastorage.Query{
		Filter: datastorage.Filter{Since: noon.Add(time.Second), Until: noon.Add(4 * time.Second)}, Ascending: true, Limit: 10,
	})
	must(t, err)
	want := []uuid.UUID{event(t, 1).Event.EventID, event(t, 2).Event.EventID, event(t, 3).Event.EventID}
	if diff := cmp.Diff(want, ids(page)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// receivedLate: what was received in some time comes whole and in order, also what is
// much older than that, a page at a time, in both directions.
func receivedLate(t *testing.T, f fixture) {
	var want []uuid.UUID // oldest first
	for n := range 9 {
		at := noon.Add(time.Duration(n) * time.Minute)
		if n < 4 { // told late
			at = at.AddDate(0, 0, -n-1)
			want = slices.Insert(want, 0, event(t, n).Event.EventID)
		} else {
			want = append(want, event(t, n).Event.EventID)
		}
		e := event(t, n, func(e *audit.Event) { e.EventTimestamp = at })
		e.ReceivedAt = noon.Add(time.Duration(n) * time.Minute)
		_, err := f.Append(t.Context(), []audit.Sealed{e})
		must(t, err)
	}
	filter := datastorage.Filter{ReceivedSince: noon, ReceivedUntil: noon.Add(8 * time.Minute)}
	want = want[:8] // the last was received at the end of that time
	for _, ascending := range []bool{true, false} {
		q, got := datastorage.Query{Filter: filter, Ascending: ascending, Limit: 3}, []uuid.UUID(nil)
		for {
			page, err := f.Query(t.Context(), q)
			must(t, err)
			if page.Total != len(want) {
				t.Errorf("total %d, want %d", page.Total, len(want))
			}
			got = append(got, ids(page)...)
			if q.After = page.Next; q.After == nil {
				break
			}
		}
		if !ascending {
			slices.Reverse(got)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ascending %t (-want +got):\n%s", ascending, diff)
		}
	}
}

func ids(page datastorage.Page) (all []uuid.UUID) {
	for _, e := range page.Events {
		all = append(all, e.EventID)
	}
	return all
}

// cursorPages reads pages, in both directions, while writers with slow and failing
// transactions go on. What the first page's moment showed must come, and nothing else.
func cursorPages(t *testing.T, f fixture) {
	stop := f.writing(t)
	defer stop()
	for round := range 6 {
		q := datastorage.Query{Limit: 50, Ascending: round%2 == 0}
		seen := map[uuid.UUID]bool{}
		var moment datastorage.Place
		for {
			page, err := f.Query(t.Context(), q)
			must(t, err)
			for _, id := range ids(page) {
				if seen[id] {
					t.Errorf("round %d: event %s came twice", round, id)
				}
				seen[id] = true
			}
			if q.After = page.Next; page.Next == nil {
				break
			}
			moment = *page.Next
		}
		want := f.number(t, fmt.Sprintf(
			"SELECT count(*) FROM audit_events WHERE pg_visible_in_snapshot(xid, '%s')", moment.Snapshot))
		if len(seen) != want {
			t.Errorf("round %d: %d events came, %d were there when it began", round, len(seen), want)
		}
	}
}

// scribble inserts events, commits after a random delay or rolls back, until ctx ends.
func (f fixture) scribble(ctx context.Context, t *testing.T, writer int) {
	conn, err := pgx.Connect(ctx, f.url)
	if err != nil {
		if ctx.Err() == nil {
			t.Errorf("writer %d: %v", writer, err)
		}
		return
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for n := 0; ctx.Err() == nil; n++ {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `
				INSERT INTO audit_events (event_timestamp, event_id, epoch, received_at, version, event_type,
					event_category, event_action, event_outcome, correlation_id, event_data, content)
				SELECT $1::timestamptz, id, 1, now(), '1', 't', 'c', 'a', 'success', 'x', '{}',
					convert_to('{"event_data":{},"event_id":"' || id || '","event_timestamp":' || to_json($1::timestamptz) || '}', 'UTF8') FROM gen_random_uuid() AS id`,
				noon.Add(time.Duration(rand.IntN(3600))*time.Second))
			if err != nil {
				return err
			}
			if _, err = tx.Exec(ctx, "SELECT pg_sleep($1)", rand.Float64()/20); err != nil {
				return err
			}
			if n%3 == 0 {
				return pgx.ErrTxCommitRollback
			}
			return nil
		})
		if err != nil && !errors.Is(err, pgx.ErrTxCommitRollback) && ctx.Err() == nil {
			t.Errorf("writer %d: %v", writer, err)
			return
		}
	}
}

func offsetPages(t *testing.T, f fixture) {
	var want []uuid.UUID
	for n := range 5 {
		e := event(t, n)
		_, err := f.Append(t.Context(), []audit.Sealed{e})
		must(t, err)
		want = append([]uuid.UUID{e.Event.EventID}, want...) // newest first
	}
	var got []uuid.UUID
	for offset := 0; offset < 6; offset += 2 {
		page, err := f.Query(t.Context(), datastorage.Query{Limit: 2, Offset: offset})
		must(t, err)
		if page.Total != 5 || page.TotalIsMinimum || (page.Next != nil) != (offset < 4) {
			t.Errorf("offset %d: total %d, minimum %v, next %v", offset, page.Total, page.TotalIsMinimum, page.Next)
		}
		got = append(got, ids(page)...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func oddSnapshot(t *testing.T, f fixture) {
	_, err := f.Query(t.Context(), datastorage.Query{Limit: 1, After: &datastorage.Place{Snapshot: "9:1:", Timestamp: noon}})
	if !errors.Is(err, datastorage.ErrCursor) {
		t.Errorf("error is %v, want ErrCursor", err)
	}
}
