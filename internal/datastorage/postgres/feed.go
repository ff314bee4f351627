package postgres

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"kubernaut.ai/kubernaut/internal/datastorage"
)

const (
	feedRows  = 500       // that a part of the feed looks through
	feedBytes = 512 << 10 // of content, after which a part ends early: many clients hold one each
)

// Feed returns what follows a position. Nothing can appear below the bound later:
// no transaction is under way there.
func (s *Store) Feed(ctx context.Context, f datastorage.Filter, after *datastorage.Position) (datastorage.Batch, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.StatementTimeout+s.config.ConnectTimeout)
	defer cancel()
	bound, err := s.feedBound(ctx)
	if err != nil {
		return datastorage.Batch{}, classified("asking how far the feed may go", err)
	}
	switch {
	case after == nil || *after == bound:
		return datastorage.Batch{Next: bound, CaughtUp: true}, nil
	case after.Epoch > bound.Epoch || after.Epoch == bound.Epoch && after.XID > bound.XID:
		return datastorage.Batch{}, datastorage.ErrCursor // of another trail
	}
	sql, args := feedOf(f, *after, bound)
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return datastorage.Batch{}, unread("reading the feed", err)
	}
	b, err := collectFeed(rows)
	if b.CaughtUp {
		b.Next = bound
	}
	return b, unread("reading the feed", err)
}

// feedBound is the position below which no transaction is under way. What it leaves
// to a later statement to read is visible there.
func (s *Store) feedBound(ctx context.Context) (p datastorage.Position, err error) {
	var xmin string
	err = s.pool.QueryRow(ctx, `SELECT (SELECT max(epoch) FROM audit_epoch), pg_snapshot_xmin(pg_current_snapshot())::text`).Scan(&p.Epoch, &xmin)
	if err != nil {
		return p, err
	}
	p.XID, err = strconv.ParseUint(xmin, 10, 64)
	return p, err
}

// feedOf asks for the rows between two positions. Rows that do not match come without
// their content, so that a part is never longer to find than to read.
func feedOf(f datastorage.Filter, after, bound datastorage.Position) (sql string, args []any) {
	match := filtered(f)
	w := &where{args: match.args}
	from, to := strconv.FormatUint(after.XID, 10), strconv.FormatUint(bound.XID, 10)
	w.add("(epoch, xid) >= ($%d, $%d::text::xid8)", after.Epoch, from) // leads into the index; the next line is exact
	w.add("(epoch, xid, event_timestamp, event_id) > ($%d, $%d::text::xid8, $%d, $%d)", after.Epoch, from, after.Timestamp, after.EventID)
	w.add("(epoch, xid) < ($%d, $%d::text::xid8)", bound.Epoch, to)
	const inOrder = "epoch, xid, event_timestamp, event_id"
	part := fmt.Sprintf(`
		SELECT %[1]s, matches, CASE WHEN matches THEN content END AS content, actor_type, actor_id, received_at FROM (
			SELECT %[1]s, content, actor_type, actor_id, received_at, (%[2]s) AS matches
			FROM audit_events WHERE %[3]s ORDER BY %[1]s LIMIT %[4]d
		) AS part`, inOrder, match.sql(), w.sql(), feedRows)
	return enough(feedBytes, "epoch, xid::text, event_timestamp, event_id, matches, "+recordColumns, part, inOrder), w.args
}

func collectFeed(rows pgx.Rows) (datastorage.Batch, error) {
	defer rows.Close()
	var b datastorage.Batch
	seen, size := 0, 0
	for size < feedBytes && rows.Next() {
		var e datastorage.FeedEvent
		var xid string
		var matches *bool
		err := scanRecord(rows, &e.Record, &e.Content, &e.Epoch, &xid, &e.Timestamp, &e.EventID, &matches)
		if err != nil {
			return b, err
		}
		if e.XID, err = strconv.ParseUint(xid, 10, 64); err != nil {
			return b, err
		}
		e.Timestamp = e.Timestamp.UTC()
		seen++
		size += len(e.Content)
		if b.Next = e.Position; matches != nil && *matches {
			b.Events = append(b.Events, e)
		}
	}
	b.CaughtUp = seen < feedRows && size < feedBytes
	rows.Close()
	return b, rows.Err()
}
