package datastorage

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
)

// ErrBroad says that a reader had to look through more than there was time for.
var ErrBroad = errors.New("the query looks through too much")

// Reader reads the audit trail. The error is ErrBroad when that takes too long.
type Reader interface {
	// Query returns one page of events, and how many there are. The page has fewer than
	// the limit when they are large.
	Query(ctx context.Context, q Query) (Page, error)
	// Export gives take each event that q asks for, as of one moment, whatever its
	// limit is. It holds a few at a time, and stops at the first error of take.
	Export(ctx context.Context, q Query, take func(Record) error) error
	// Feed returns what follows a position, nil for now, and is safe to show: what
	// transactions have stored below which none is under way. The error is
	// ErrCursor when the trail has never been at the position.
	Feed(ctx context.Context, f Filter, after *Position) (Batch, error)
	// Summarize counts events by group.
	Summarize(ctx context.Context, s SummaryQuery) (groups []api.SummaryGroup, more bool, err error)
}

// Filter says which events are meant. All that is set must hold.
type Filter struct {
	Equals        []Equal
	Data          []DataTerm
	Since         time.Time // zero: from the beginning
	Until         time.Time // before this; zero: to the end
	ReceivedSince time.Time
	ReceivedUntil time.Time
	MinDuration   *int64 // milliseconds
	MaxDuration   *int64
}

// Equal asks for one value of one column.
type Equal struct {
	Column string // the name of a member of an event, also its column
	Value  any    // string or uuid.UUID
}

// DataTerm asks for something in event_data.
type DataTerm struct {
	Path   []string
	Op     DataOp
	Text   string  // what OpIs compares with
	Number float64 // what the other comparisons are with
}

// DataOp is how what stands at a path is compared.
type DataOp string

// The comparisons. All but OpExists and OpIs are of numbers.
const (
	OpExists  DataOp = ""
	OpIs      DataOp = "="
	OpAtLeast DataOp = ">="
	OpAtMost  DataOp = "<="
	OpAbove   DataOp = ">"
	OpBelow   DataOp = "<"
)

// Query asks for events in order.
type Query struct {
	Filter
	Ascending bool // by event_timestamp, then event_id; else the other way round
	Limit     int
	Offset    int
	After     *Place // where the page before ended; then Offset is 0
}

// Place is where a page ended, what could be seen when the first was read, and how
// many events there were then.
type Place struct {
	Snapshot       string // PostgreSQL's text form of a snapshot
	Epoch          int16
	Timestamp      time.Time
	EventID        uuid.UUID
	Total          int
	TotalIsMinimum bool
}

// Page is an answer to a Query.
type Page struct {
	Events         []api.StoredEvent
	Total          int    // counted up to MaxTotal
	TotalIsMinimum bool   // there are more
	Next           *Place // nil: this is the last page
}

// MaxTotal is how far the events of a query are counted.
const MaxTotal = 10_000

// Record is an event as it is kept: its content, and what the server knows beside.
type Record struct {
	Content            []byte // canonical, see audit.Seal; overwritten after use
	Digest             audit.Digest
	ActorType, ActorID string
	ReceivedAt         time.Time
}

// Position is a place in the order in which events are shown by the feed.
type Position struct {
	Epoch     int16
	XID       uint64 // the transaction that stored it
	Timestamp time.Time
	EventID   uuid.UUID
}

// Batch is the next part of a feed.
type Batch struct {
	Events   []FeedEvent
	Next     Position // what was looked through ends here
	CaughtUp bool     // nothing more is safe to show now
}

// FeedEvent is an event with its place in the feed.
type FeedEvent struct {
	Record
	Position
}

// SummaryQuery asks how many events there are, and how long they took.
type SummaryQuery struct {
	Filter
	By     []api.SummaryKey
	Bucket string // a unit of date_trunc; empty: the whole span
	Limit  int    // groups
}
