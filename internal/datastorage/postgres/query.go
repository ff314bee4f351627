package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

// Query returns one page. The page and its total are of one snapshot, and the
// pages after it show exactly what that snapshot showed: rows of transactions that
// were not finished then stay out, however late they commit.
func (s *Store) Query(ctx context.Context, q datastorage.Query) (datastorage.Page, error) {
	var page datastorage.Page
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := s.inTransaction(ctx, options, func(tx pgx.Tx) error {
		seen, err := s.count(ctx, tx, q, &page)
		if err != nil {
			return err
		}
		return s.read(ctx, tx, q, seen, &page)
	})
	if q.After != nil && hasCode(err, "22P02") { // the text is no snapshot
		err = datastorage.ErrCursor
	}
	return page, classified("reading events", err)
}

// count sets the page's total and returns what can be seen: the place's snapshot
// when the query continues one, else the transaction's.
func (s *Store) count(ctx context.Context, tx pgx.Tx, q datastorage.Query, page *datastorage.Page) (datastorage.Place, error) {
	w := conditions(q)
	sql := fmt.Sprintf(`
		SELECT (SELECT count(*) FROM (SELECT FROM audit_events WHERE %s LIMIT %d) AS counted),
			pg_current_snapshot()::text, (SELECT max(epoch) FROM audit_epoch)`, w.sql(), datastorage.MaxTotal+1)
	var seen datastorage.Place
	if err := tx.QueryRow(ctx, sql, w.args...).Scan(&page.Total, &seen.Snapshot, &seen.Epoch); err != nil {
		return seen, err
	}
	if page.Total > datastorage.MaxTotal {
		page.Total, page.TotalIsMinimum = datastorage.MaxTotal, true
	}
	if q.After != nil {
		seen.Snapshot, seen.Epoch = q.After.Snapshot, q.After.Epoch
	}
	return seen, nil
}

func (s *Store) read(ctx context.Context, tx pgx.Tx, q datastorage.Query, seen datastorage.Place, page *datastorage.Page) error {
	w := conditions(q)
	direction, beyond := "DESC", "<"
	if q.Ascending {
		direction, beyond = "ASC", ">"
	}
	if q.After != nil {
		w.add("(event_timestamp, event_id) "+beyond+" ($%d, $%d)", q.After.Timestamp, q.After.EventID)
	}
	sql := fmt.Sprintf(`
		SELECT content, actor_type, actor_id, received_at
		FROM audit_events
		WHERE %s
		ORDER BY event_timestamp %s, event_id %s
		LIMIT %d OFFSET %d`, w.sql(), direction, direction, q.Limit+1, q.Offset)
	rows, err := tx.Query(ctx, sql, w.args...)
	if err != nil {
		return err
	}
	page.Events, err = pgx.CollectRows(rows, storedEvent)
	if err != nil || len(page.Events) <= q.Limit {
		return err
	}
	page.Events = page.Events[:q.Limit]
	last := page.Events[q.Limit-1]
	seen.Timestamp, seen.EventID = last.EventTimestamp, last.EventID
	page.Next = &seen
	return nil
}

// storedEvent reads one row. All but the server's fields is in the content.
func storedEvent(row pgx.CollectableRow) (api.StoredEvent, error) {
	var e api.StoredEvent
	var content []byte
	var actorType, actorID *string
	var receivedAt time.Time
	if err := row.Scan(&content, &actorType, &actorID, &receivedAt); err != nil {
		return e, err
	}
	if err := json.Unmarshal(content, &e); err != nil {
		return e, fmt.Errorf("the content of a stored event: %w", err)
	}
	e.ActorType, e.ActorID = orEmpty(actorType), orEmpty(actorID)
	e.ReceivedAt = receivedAt.UTC()
	e.Digest = audit.Digest(sha256.Sum256(content)).String()
	return e, nil
}

func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// where collects conditions with their parameters.
type where struct {
	terms []string
	args  []any
}

// add appends a condition; each %d in it stands for the number of the next parameter.
func (w *where) add(term string, args ...any) {
	numbers := make([]any, len(args))
	for i := range args {
		numbers[i] = len(w.args) + i + 1
	}
	w.terms = append(w.terms, fmt.Sprintf(term, numbers...))
	w.args = append(w.args, args...)
}

func (w *where) sql() string {
	if len(w.terms) == 0 {
		return "true"
	}
	return strings.Join(w.terms, " AND ")
}

// conditions are what a query asks of every row, wherever its page begins.
func conditions(q datastorage.Query) *where {
	w := &where{}
	for _, e := range q.Equals {
		column := pgx.Identifier{e.Column}.Sanitize()
		if id, ok := e.Value.(uuid.UUID); ok && e.Column == "event_id" {
			// Only audit_event_id knows an event by its id; its time leads to the partition.
			w.add("event_timestamp = (SELECT event_timestamp FROM audit_event_id WHERE event_id = $%d)", id)
		}
		w.add(column+" = $%d", e.Value)
	}
	if !q.Since.IsZero() {
		w.add("event_timestamp >= $%d", q.Since)
	}
	if !q.Until.IsZero() {
		w.add("event_timestamp < $%d", q.Until)
	}
	if q.After != nil {
		w.add("(epoch < $%d OR epoch = $%d AND pg_visible_in_snapshot(xid, $%d::pg_snapshot))",
			q.After.Epoch, q.After.Epoch, q.After.Snapshot)
	}
	return w
}
