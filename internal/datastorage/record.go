package datastorage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/audit"
)

// Outcome is how events came to be safe.
type Outcome int

// The outcomes, each with a status of its own in the contract.
const (
	Stored Outcome = iota + 1 // at least one is new in the trail
	Known                     // all were there
	Parked                    // the trail is away: they are in the overflow
)

// Kept is what became of events that are safe.
type Kept struct {
	Outcome Outcome
	Fresh   []bool // which are new in the trail; nil when they are parked
}

// of is the outcome of the i-th event alone.
func (k Kept) of(i int) Outcome {
	switch {
	case k.Outcome == Parked:
		return Parked
	case k.Fresh[i]:
		return Stored
	}
	return Known
}

// ParentError says that events name parents that nobody has recorded, or, with a
// Doubt, of which that cannot be known now.
type ParentError struct {
	IDs   []uuid.UUID
	Doubt error // of class ErrBusy
}

func (e *ParentError) Error() string {
	var ids []string
	for _, id := range e.IDs {
		ids = append(ids, id.String())
	}
	text := "no such event: " + strings.Join(ids, ", ")
	if e.Doubt != nil {
		text += ": " + e.Doubt.Error()
	}
	return text
}

func (e *ParentError) Unwrap() error { return e.Doubt }

// recorder makes events safe: in the trail, or while that is away in the overflow.
type recorder struct {
	trail    Trail
	overflow Overflow
	memory   *memory
}

// record makes events safe, all or none. The ids differ.
func (r *recorder) record(ctx context.Context, events []audit.Sealed) (Kept, error) {
	if err := r.checkParents(ctx, events); err != nil {
		return Kept{}, err
	}
	fresh, err := r.trail.Append(ctx, events)
	if err == nil {
		if slices.Contains(fresh, true) {
			return Kept{Stored, fresh}, nil
		}
		return Kept{Known, fresh}, nil
	}
	if !errors.Is(err, ErrAway) {
		return Kept{}, err
	}
	// The answer must not depend on whether the client still listens: a COMMIT may
	// have taken effect, and the event must not be lost if it did not.
	if parkErr := r.overflow.Park(context.WithoutCancel(ctx), events); parkErr != nil {
		return Kept{}, fmt.Errorf("%w; and parking: %w", err, parkErr)
	}
	return Kept{Outcome: Parked}, nil
}

// isParked says whether an id is parked, as far as that can be known.
func (r *recorder) isParked(ctx context.Context, id uuid.UUID) bool {
	parked, err := r.overflow.Parked(ctx, []uuid.UUID{id})
	if err != nil {
		return r.memory.knows(id)
	}
	_, is := parked[id]
	return is
}

// checkParents looks for the events that others name as their cause: in the batch,
// in the trail, and among what is parked. Where the trail is away, what it holds is
// unknown and no event is refused; where the overflow is, none is refused for good.
func (r *recorder) checkParents(ctx context.Context, events []audit.Sealed) error {
	wanted := parentsOutside(events)
	if len(wanted) == 0 {
		return nil
	}
	missing, err := r.trail.Missing(ctx, wanted)
	if err != nil && !errors.Is(err, ErrAway) {
		return err
	}
	if len(missing) == 0 {
		return nil
	}
	parked, away := r.overflow.Parked(ctx, missing)
	if away != nil && !errors.Is(away, ErrAway) {
		return away
	}
	unknown := &ParentError{}
	for _, id := range missing {
		if _, ok := parked[id]; !ok && (away == nil || !r.memory.knows(id)) {
			unknown.IDs = append(unknown.IDs, id)
		}
	}
	if len(unknown.IDs) == 0 {
		return nil
	}
	if away != nil {
		unknown.Doubt = fmt.Errorf("%w: whether it is parked cannot be asked: %s", ErrBusy, away.Error())
	}
	return unknown
}

// parentsOutside are the parents of events that are not among the events.
func parentsOutside(events []audit.Sealed) []uuid.UUID {
	var parents []uuid.UUID
	for i := range events {
		if parent := events[i].Event.ParentEventID; parent != uuid.Nil {
			parents = append(parents, parent)
		}
	}
	if len(parents) == 0 {
		return nil
	}
	seen := make(map[uuid.UUID]bool, len(events))
	for i := range events {
		seen[events[i].Event.EventID] = true
	}
	var outside []uuid.UUID
	for _, parent := range parents {
		if !seen[parent] {
			seen[parent] = true
			outside = append(outside, parent)
		}
	}
	return outside
}
