package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"kubernaut.ai/kubernaut/internal/datastorage"
)

// An export reads parts, each with a statement of its own, so that nothing is held
// in the database however slowly somebody reads: no transaction, no snapshot, no
// lock. All parts show what the first moment showed.
const (
	partEvents = 2000    // in one part
	partBytes  = 4 << 20 // of content, after which a part ends early
)

// Export gives take each event that q asks for, as of one moment.
func (s *Store) Export(ctx context.Context, q datastorage.Query, take func(datastorage.Record) error) error {
	seen, err := s.now(ctx)
	if err != nil {
		return err
	}
	part := &part{}
	for {
		if err := s.readPart(ctx, q, seen, part); err != nil {
			return err
		}
		for _, r := range part.records {
			if err := take(r); err != nil {
				return err
			}
		}
		if part.last {
			return nil
		}
		after := seen
		after.Timestamp, after.EventID = part.timestamp, part.eventID
		q.After = &after
	}
}

// now returns what can be seen now.
func (s *Store) now(ctx context.Context) (seen datastorage.Place, err error) {
	err = s.inTransaction(ctx, atOneMoment, func(ctx context.Context, tx pgx.Tx) error {
		seen, err = moment(ctx, tx, nil)
		return err
	})
	return seen, err
}

// part is some events of an export, and where they end. Its memory is used again.
type part struct {
	records   []datastorage.Record
	contents  []byte
	last      bool
	timestamp time.Time
	eventID   uuid.UUID
}

func (s *Store) readPart(ctx context.Context, q datastorage.Query, seen datastorage.Place, p *part) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	sql, args := partOf(q, seen)
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return unread("exporting events", err)
	}
	defer rows.Close()
	p.records, p.contents, p.last = p.records[:0], p.contents[:0], false
	for len(p.contents) < partBytes && rows.Next() {
		var r datastorage.Record
		var raw pgtype.DriverBytes // the row's own memory, which the next row overwrites
		if err := scanRecord(rows, &r, &raw, &p.timestamp, &p.eventID); err != nil {
			return unread("exporting events", err)
		}
		p.contents = append(p.contents, raw...)
		r.Content = p.contents[len(p.contents)-len(raw):]
		p.records = append(p.records, r)
	}
	if err := rows.Err(); err != nil {
		return unread("exporting events", err)
	}
	p.last = len(p.contents) < partBytes && len(p.records) < partEvents
	return nil
}

func partOf(q datastorage.Query, seen datastorage.Place) (sql string, args []any) {
	w := filtered(q.Filter)
	w.visibleAt(seen)
	if q.After != nil {
		w.beyond(*q.After, q.Ascending)
	}
	rows := fmt.Sprintf(`SELECT %s FROM audit_events WHERE %s ORDER BY %s LIMIT %d`, storedColumns, w.sql(), order(q.Ascending), partEvents)
	return enough(partBytes, "event_timestamp, event_id, "+recordColumns, rows, order(q.Ascending)), w.args
}
