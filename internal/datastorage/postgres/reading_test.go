package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
)

// writing lets 64 writers commit after random delays and roll back, until stop is
// called, which waits for them. It returns when some hundred events are there.
func (f fixture) writing(t *testing.T) (stop func()) {
	t.Helper()
	_, err := f.Append(t.Context(), []audit.Sealed{event(t, 1)}) // makes the month
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 64 {
		writers.Go(func() { f.scribble(ctx, t, w) })
	}
	for f.number(t, "SELECT count(*) FROM audit_events") < 300 && !t.Failed() {
		<-time.After(time.Millisecond) // the writers need the processor more
	}
	return func() { cancel(); writers.Wait() }
}

// feedSkipsNothing follows the feed while 64 writers commit late and roll back. When
// they have ended, each event has come once, in the order of the positions.
func feedSkipsNothing(t *testing.T, f fixture) {
	stop := f.writing(t)
	defer stop()
	seen := map[uuid.UUID]bool{}
	position, rounds := datastorage.Position{}, 0
	read := func() (caughtUp bool) {
		batch, err := f.Feed(t.Context(), datastorage.Filter{}, &position)
		must(t, err)
		for _, e := range batch.Events {
			if seen[e.EventID] {
				t.Errorf("event %s came twice", e.EventID)
			}
			if seen[e.EventID] = true; position.String() == e.String() {
				t.Errorf("the position of %s does not grow", e.EventID)
			}
			position = e.Position
		}
		position = batch.Next
		return batch.CaughtUp
	}
	for ; rounds < 100; rounds++ {
		read()
	}
	stop()
	for f.number(t, "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL") > 0 {
		<-time.After(time.Millisecond) // what was cut off is still being rolled back
	}
	for !read() {
	}
	if want := f.number(t, "SELECT count(*) FROM audit_events"); len(seen) != want {
		t.Errorf("%d events came, %d are there", len(seen), want)
	}
}

// feedHidesWhatMayComeAfter: an event is not shown while a transaction that began
// earlier may still commit another.
func feedHidesWhatMayComeAfter(t *testing.T, f fixture) {
	slow, err := f.owner.Begin(t.Context())
	must(t, err)
	_, err = slow.Exec(t.Context(), "SELECT pg_current_xact_id()")
	must(t, err)
	_, err = f.Append(t.Context(), []audit.Sealed{event(t, 1)})
	must(t, err)
	start := &datastorage.Position{}
	batch, err := f.Feed(t.Context(), datastorage.Filter{}, start)
	must(t, err)
	if len(batch.Events) != 0 || !batch.CaughtUp {
		t.Errorf("%d events are shown while an earlier transaction is under way", len(batch.Events))
	}
	must(t, slow.Rollback(t.Context()))
	batch, err = f.Feed(t.Context(), datastorage.Filter{}, &batch.Next)
	must(t, err)
	if len(batch.Events) != 1 {
		t.Errorf("%d events are shown when it has ended, want 1", len(batch.Events))
	}
	_, err = f.Feed(t.Context(), datastorage.Filter{}, &datastorage.Position{Epoch: 9})
	if !errors.Is(err, datastorage.ErrCursor) {
		t.Errorf("a position of another trail: %v, want ErrCursor", err)
	}
}

// exportIsOfOneMoment exports while 64 writers go on and a month appears.
func exportIsOfOneMoment(t *testing.T, f fixture) {
	stop := f.writing(t)
	defer stop()
	for _, ascending := range []bool{true, false} {
		before := f.number(t, "SELECT count(*) FROM audit_events")
		seen := map[string]bool{}
		var order []time.Time
		err := f.Export(t.Context(), datastorage.Query{Ascending: ascending}, func(r datastorage.Record) error {
			if len(seen) == before/2 { // in the middle, and no lock of ours is in the way
				_, err := f.Append(t.Context(), []audit.Sealed{event(t, 9, func(e *audit.Event) {
					e.EventTimestamp = noon.AddDate(0, 8+len(order)%2, 0)
					e.EventID = uuid.New()
				})})
				must(t, err)
			}
			seen[r.Digest.String()+string(r.Content)] = true
			e, err := r.Stored()
			order = append(order, e.EventTimestamp)
			return err
		})
		must(t, err)
		sorted := slices.IsSortedFunc(order, time.Time.Compare)
		if !ascending {
			slices.Reverse(order)
			sorted = slices.IsSortedFunc(order, time.Time.Compare)
		}
		after := f.number(t, "SELECT count(*) FROM audit_events")
		if len(seen) != len(order) || len(seen) < before || len(seen) > after || !sorted {
			t.Errorf("%d different of %d events; before %d, after %d; in order: %v", len(seen), len(order), before, after, sorted)
		}
	}
}

// exportInParts exports more than one part holds, and bigger ones than fit in one.
func exportInParts(t *testing.T, f fixture) {
	var want []uuid.UUID
	for part := range 5 {
		var batch []audit.Sealed
		for i := range 1000 {
			n := part*1000 + i
			batch = append(batch, event(t, n, func(e *audit.Event) {
				e.EventTimestamp = noon.Add(time.Duration(n/10) * time.Second) // ten at a time
				if n > 4950 {
					e.EventData = fmt.Appendf(nil, `{"big":"%0120000d"}`, n)
				}
			}))
			want = append(want, batch[i].Event.EventID)
		}
		_, err := f.Append(t.Context(), batch)
		must(t, err)
	}
	got := map[uuid.UUID]bool{}
	must(t, f.Export(t.Context(), datastorage.Query{Ascending: true}, func(r datastorage.Record) error {
		e, err := r.Stored()
		got[e.EventID] = true
		return err
	}))
	if len(got) != len(want) {
		t.Errorf("%d events were exported, want %d", len(got), len(want))
	}
	stopped := errors.New("enough")
	if err := f.Export(t.Context(), datastorage.Query{}, func(datastorage.Record) error { return stopped }); !errors.Is(err, stopped) {
		t.Errorf("the error of who takes is lost: %v", err)
	}
}

// alteredRow: the digest that is read is the one that was recorded, so that content
// which somebody with all rights has changed does not pass.
func alteredRow(t *testing.T, f fixture) {
	e := event(t, 1, full)
	_, err := f.Append(t.Context(), []audit.Sealed{e})
	must(t, err)
	_, err = f.owner.Exec(t.Context(), `UPDATE audit_events SET content = convert_to(replace(convert_from(content, 'UTF8'), 'critical', 'harmless'), 'UTF8')`)
	must(t, err)
	page, err := f.Query(t.Context(), datastorage.Query{Limit: 1})
	must(t, err)
	if got := page.Events[0]; got.Severity != "harmless" || got.Digest != e.Digest.String() {
		t.Errorf("severity %s with the digest %s, recorded was %s", got.Severity, got.Digest, e.Digest)
	}
}

// summaryOfMonths crosses partitions, and groups in UTC.
func summaryOfMonths(t *testing.T, f fixture) {
	for n, at := range []time.Time{noon, noon.AddDate(0, 1, 0), time.Date(2026, 4, 30, 23, 59, 0, 0, time.UTC)} {
		_, err := f.Append(t.Context(), []audit.Sealed{event(t, n, func(e *audit.Event) { e.EventTimestamp = at })})
		must(t, err)
	}
	groups, more, err := f.Summarize(t.Context(), datastorage.SummaryQuery{Bucket: "month", By: []api.SummaryKey{api.SummaryKeyEventType}, Limit: 10})
	must(t, err)
	var got []string
	for _, g := range groups {
		got = append(got, fmt.Sprint(g.Bucket.Format(time.DateOnly), " ", g.Group, " ", g.Count))
	}
	if diff := cmp.Diff([]string{"2026-03-01 map[event_type:test.done] 1", "2026-04-01 map[event_type:test.done] 2"}, got); diff != "" || more {
		t.Errorf("more: %v (-want +got):\n%s", more, diff)
	}
}

// tooBroad reads more than there is time for, which is told as that.
func tooBroad(t *testing.T, f fixture) {
	exportInParts(t, f)
	hasty, err := postgres.Open(f.url, postgres.Config{StatementTimeout: time.Millisecond}, slog.New(slog.DiscardHandler))
	must(t, err)
	defer hasty.Close()
	big := datastorage.Filter{Data: []datastorage.DataTerm{{Path: []string{"big"}, Op: datastorage.OpIs, Text: "x"}}}
	_, _, err = hasty.Summarize(t.Context(), datastorage.SummaryQuery{Limit: 1, Filter: big})
	if !errors.Is(err, datastorage.ErrBroad) {
		t.Errorf("a summary that ran out of time: %v, want ErrBroad", err)
	}
}
