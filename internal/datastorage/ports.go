package datastorage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
)

// Trail keeps audit events for good.
type Trail interface {
	// Append keeps events, all or none, and says of each whether it is new. On
	// return they survive a crash. The ids must differ.
	//
	// The error is a *ConflictError when ids name other events, ErrAway when the
	// store cannot be reached or cannot write, or when whether it did is unknown,
	// ErrBusy when it was too slow and kept nothing, and ErrUnfit when it will
	// never take one of the events.
	Append(ctx context.Context, events []audit.Sealed) (fresh []bool, err error)
	// Missing returns those of the ids that name no event.
	Missing(ctx context.Context, ids []uuid.UUID) ([]uuid.UUID, error)
}

// Overflow keeps events while the Trail is away, and moves them there later.
type Overflow interface {
	// Park keeps events, all or none; one that is parked already is kept once. On
	// return they survive a crash. The error is a *ConflictError when ids name
	// other parked events, ErrFull, or ErrAway.
	Park(ctx context.Context, events []audit.Sealed) error
	// Parked returns the digests of those ids that are parked.
	Parked(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]audit.Digest, error)
	// Each calls do for all that is parked, in no order; some of it perhaps twice.
	Each(ctx context.Context, do func(uuid.UUID, audit.Digest)) error
}

// Parking is the Overflow as an operator sees it.
type Parking interface {
	// Count returns how many events wait, and how many were moved aside because they
	// can never be delivered.
	Count(ctx context.Context) (waiting, poisoned int64, err error)
	// List returns entries of a queue behind a place ("" is the beginning), the oldest
	// first: at most limit, fewer when they are large, none when there are no more.
	List(ctx context.Context, q api.ParkedQueue, after string, limit int) ([]api.ParkedEntry, error)
	// Find returns those of the entries that are in a queue.
	Find(ctx context.Context, q api.ParkedQueue, places []string) ([]api.ParkedEntry, error)
	// Retry puts poisoned entries behind the waiting ones, and returns how many it found.
	Retry(ctx context.Context, places []string) (int, error)
	// Purge removes entries with their ids, and returns how many it found. An event
	// that the trail does not have is lost.
	Purge(ctx context.Context, q api.ParkedQueue, places []string) (int, error)
}

// Holds keep the events of a case, whatever the policies of retention say.
type Holds interface {
	// PlaceHold keeps a hold and returns it with its time. placed is false when the same
	// hold is there already; when its id names another one the error is ErrExists.
	PlaceHold(ctx context.Context, h api.Hold) (kept api.Hold, placed bool, err error)
	// ReleaseHold releases one, or returns ErrNotFound. One that was released before
	// stays as it was.
	ReleaseHold(ctx context.Context, id uuid.UUID, reason, by string) (api.Hold, error)
	// ListHolds returns holds, the newest first; an empty correlation id means all.
	ListHolds(ctx context.Context, correlationID string, released bool) ([]api.Hold, error)
}

// Retention removes events that no policy and no hold keeps.
type Retention interface {
	// BeginRetention notes a run, unless another began less than since ago.
	BeginRetention(ctx context.Context, run uuid.UUID, by string, since time.Duration) (begun bool, err error)
	// PlanRetention says what would go, month by month.
	PlanRetention(ctx context.Context, policies []api.RetentionPolicy) ([]api.RetentionMonth, error)
	// ApplyRetention removes what goes of one month, and says how much that was, also
	// when it could not remove all.
	ApplyRetention(ctx context.Context, run uuid.UUID, policies []api.RetentionPolicy, month string) (events int64, whole bool, err error)
}

// Catalog keeps workflows.
type Catalog interface {
	// Create keeps one version of a workflow. created is false when it is there
	// already with the same content; with other content the error is ErrExists.
	Create(ctx context.Context, w api.Workflow) (kept api.Workflow, created bool, err error)
	// Get returns one version, or ErrNotFound.
	Get(ctx context.Context, id uuid.UUID) (api.Workflow, error)
	// List returns workflows by name and then by version, the highest first; fewer than
	// the limit when they are large.
	List(ctx context.Context, q WorkflowQuery) (WorkflowPage, error)
	// Labelled returns the latest versions that carry these labels, whatever their
	// custom labels are, without their content and parameters.
	Labelled(ctx context.Context, f api.WorkflowFilters) ([]api.Workflow, error)
	// SetStatus changes the status of one version, or returns ErrNotFound.
	SetStatus(ctx context.Context, id uuid.UUID, s StatusChange) (api.Workflow, error)
}

// What the ports can end in.
var (
	ErrAway     = errors.New("the store is away")
	ErrBusy     = errors.New("the store is too busy")
	ErrFull     = errors.New("no more events can be parked")
	ErrUnfit    = errors.New("the store cannot keep this content")
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists with other content")
	ErrCursor   = errors.New("not a cursor of this service")
	ErrPlace    = errors.New("not the place of an entry")
)

// ConflictError says that ids already name events with another content.
type ConflictError struct{ IDs []uuid.UUID }

func (e *ConflictError) Error() string {
	var ids []string
	for _, id := range e.IDs {
		ids = append(ids, id.String())
	}
	return fmt.Sprintf("already the id of another event: %s", strings.Join(ids, ", "))
}

func isConflict(err error) bool {
	_, is := errors.AsType[*ConflictError](err)
	return is
}

// WorkflowQuery asks for workflows. All that is set must hold.
type WorkflowQuery struct {
	Name    string
	Version string
	Status  api.WorkflowStatus
	Latest  bool
	Limit   int
	Offset  int
}

// StatusChange is a new status, why, and who says so.
type StatusChange struct {
	Status api.WorkflowStatus
	Reason string
	By     string
}

// WorkflowPage is an answer to a WorkflowQuery.
type WorkflowPage struct {
	Workflows []api.Workflow
	Total     int
}
