package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

// recordColumns are what is read of an event: the content has all but what the
// server knows beside. The digest is the one that was recorded, not one of what is
// read.
const recordColumns = `content, (SELECT i.digest FROM audit_event_id i WHERE i.event_id = e.event_id), actor_type, actor_id, received_at`

// storedColumns are what recordColumns are made of, and what events are ordered by.
const storedColumns = `event_timestamp, event_id, content, actor_type, actor_id, received_at`

// pageBytes is the content after which a page ends early, so that an answer is never
// larger than a service and a client have room for.
const pageBytes = 4 << 20

// atOneMoment is how whatever belongs together is read.
var atOneMoment = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

// Query returns one page. The page and its total are of one snapshot, and the
// pages after it show exactly what that snapshot showed: rows of transactions that
// were not finished then stay out, however late they commit.
func (s *Store) Query(ctx context.Context, q datastorage.Query) (datastorage.Page, error) {
	var page datastorage.Page
	err := s.inTransaction(ctx, atOneMoment, func(ctx context.Context, tx pgx.Tx) error {
		seen, err := moment(ctx, tx, q.After)
		if err != nil {
			return err
		}
		if narrow, ok := narrowed(q); ok {
			if page, err = readPage(ctx, tx, narrow, seen); err != nil {
				return err
			}
		}
		if page.Next == nil { // else it is full, and nothing that was left out comes before its end
			if page, err = readPage(ctx, tx, q, seen); err != nil {
				return err
			}
		}
		return total(ctx, tx, q, &page)
	})
	if q.After != nil && hasCode(err, "22P02") { // the text is no snapshot
		err = datastorage.ErrCursor
	}
	return page, unread("reading events", err)
}

// narrowed asks for what was received in some time and is not older than that. Such
// events come first, newest first, and are nearly all. The planner knows neither, and
// would sort the events of the whole time to find the first of them.
func narrowed(q datastorage.Query) (datastorage.Query, bool) {
	if q.Ascending || q.Offset > 0 || !q.ReceivedSince.After(q.Since) {
		return q, false
	}
	q.Since = q.ReceivedSince
	return q, true
}

func readPage(ctx context.Context, tx pgx.Tx, q datastorage.Query, seen datastorage.Place) (page datastorage.Page, err error) {
	sql, args := pageOf(q)
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return page, err
	}
	return page, collectPage(rows, q.Limit, seen, &page)
}

// moment returns what can be seen: what the place says that a query continues, else
// what the transaction sees.
func moment(ctx context.Context, tx pgx.Tx, after *datastorage.Place) (datastorage.Place, error) {
	if after != nil {
		return *after, nil
	}
	var seen datastorage.Place
	err := tx.QueryRow(ctx, `SELECT pg_current_snapshot()::text, (SELECT max(epoch) FROM audit_epoch)`).Scan(&seen.Snapshot, &seen.Epoch)
	return seen, err
}

// pageOf asks for a page and one event more.
func pageOf(q datastorage.Query) (sql string, args []any) {
	w := filtered(q.Filter)
	if q.After != nil {
		w.visibleAt(*q.After)
		w.beyond(*q.After, q.Ascending)
	}
	rows := fmt.Sprintf(`SELECT %s FROM audit_events WHERE %s ORDER BY %s LIMIT %d OFFSET %d`, storedColumns, w.sql(), order(q.Ascending), q.Limit+1, q.Offset)
	return enough(pageBytes, recordColumns, rows, order(q.Ascending)), w.args
}

// enough asks for rows in an order, up to where their content comes to so many bytes,
// and one more, which tells that there are more. All others PostgreSQL would send, and
// whoever stops reading has to wait for them all the same.
func enough(bytes int, columns, rows, order string) string {
	return fmt.Sprintf(`
		SELECT %s FROM (
			SELECT *, sum(octet_length(content)) OVER (ORDER BY %s ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING) AS before FROM (%s) AS found
		) AS e WHERE coalesce(before, 0) < %d ORDER BY %s`, columns, order, rows, bytes, order)
}

func order(ascending bool) string {
	if ascending {
		return "event_timestamp ASC, event_id ASC"
	}
	return "event_timestamp DESC, event_id DESC"
}

// collectPage reads up to limit events, fewer when they are large, and says where the
// next page begins when there are more. Those it does not keep.
func collectPage(rows pgx.Rows, limit int, seen datastorage.Place, page *datastorage.Page) error {
	defer rows.Close()
	for size := 0; rows.Next(); {
		if len(page.Events) == limit || size >= pageBytes {
			last := page.Events[len(page.Events)-1]
			seen.Timestamp, seen.EventID = last.EventTimestamp, last.EventID
			page.Next = &seen
			break
		}
		var r datastorage.Record
		if err := scanRecord(rows, &r, &r.Content); err != nil {
			return err
		}
		e, err := r.Stored()
		if err != nil {
			return err
		}
		page.Events = append(page.Events, e)
		size += len(r.Content)
	}
	rows.Close()
	return rows.Err()
}

// maxCost is how much a count may cost, in the planner's units: some 20 ms.
const maxCost = 5_000

// total sets how many events there are, for this page and those after it: as the first
// page counted them, as this page shows, or counted.
func total(ctx context.Context, tx pgx.Tx, q datastorage.Query, page *datastorage.Page) error {
	switch {
	case q.After != nil:
		page.Total, page.TotalIsMinimum = q.After.Total, q.After.TotalIsMinimum
	case page.Next == nil && (q.Offset == 0 || len(page.Events) > 0):
		page.Total = q.Offset + len(page.Events)
	default:
		if err := count(ctx, tx, q, page); err != nil {
			return err
		}
	}
	if page.Next != nil {
		page.Next.Total, page.Next.TotalIsMinimum = page.Total, page.TotalIsMinimum
	}
	return nil
}

// count counts the events, when that is cheap. A count that would read the whole trail
// is not worth the time; then the total is what is known.
func count(ctx context.Context, tx pgx.Tx, q datastorage.Query, page *datastorage.Page) error {
	sql, args := countOf(q.Filter)
	cost, err := costOf(ctx, tx, sql, args)
	if err != nil {
		return err
	}
	if cost > maxCost {
		here := q.Offset + len(page.Events)
		if page.Next != nil {
			here++
		}
		page.Total, page.TotalIsMinimum = min(here, datastorage.MaxTotal), true
		return nil
	}
	if err := tx.QueryRow(ctx, sql, args...).Scan(&page.Total); err != nil {
		return err
	}
	if page.Total > datastorage.MaxTotal {
		page.Total, page.TotalIsMinimum = datastorage.MaxTotal, true
	}
	return nil
}

func countOf(f datastorage.Filter) (sql string, args []any) {
	w := filtered(f)
	return fmt.Sprintf(`SELECT count(*) FROM (SELECT FROM audit_events WHERE %s LIMIT %d) AS counted`,
		w.sql(), datastorage.MaxTotal+1), w.args
}

// costOf is what the planner expects a statement to cost.
func costOf(ctx context.Context, tx pgx.Tx, sql string, args []any) (float64, error) {
	var raw []byte
	if err := tx.QueryRow(ctx, "EXPLAIN (FORMAT JSON) "+sql, args...).Scan(&raw); err != nil {
		return 0, err
	}
	var plans []struct {
		Plan struct {
			Cost float64 `json:"Total Cost"`
		} `json:"Plan"`
	}
	if err := json.Unmarshal(raw, &plans); err != nil || len(plans) != 1 {
		return 0, fmt.Errorf("reading the plan of a count: %w", err)
	}
	return plans[0].Plan.Cost, nil
}

// scanRecord reads one row that ends in recordColumns. The content goes to where
// content points, and what stands before it in the row to before.
func scanRecord(row pgx.CollectableRow, r *datastorage.Record, content any, before ...any) error {
	var digest []byte
	var actorType, actorID *string
	if err := row.Scan(append(before, content, &digest, &actorType, &actorID, &r.ReceivedAt)...); err != nil {
		return err
	}
	r.ActorType, r.ActorID, r.ReceivedAt = orEmpty(actorType), orEmpty(actorID), r.ReceivedAt.UTC()
	if len(digest) == len(r.Digest) { // else the id is not known, which whoever verifies will find
		r.Digest = audit.Digest(digest)
	}
	return nil
}

func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
