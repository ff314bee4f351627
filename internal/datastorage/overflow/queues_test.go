package overflow

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

func TestPoisonIsListedRetriedAndPurged(t *testing.T) {
	o, _ := open(t, 2)
	first, second := event(t, 1), event(t, 2)
	must(t, o.Park(t.Context(), []audit.Sealed{first, second}))
	never := map[uuid.UUID]error{first.Event.EventID: datastorage.ErrUnfit, second.Event.EventID: datastorage.ErrUnfit}
	stop := redriving(t, o, &memory{refuses: never})
	await(t, o, 2)
	stop()

	must(t, o.Park(t.Context(), []audit.Sealed{first})) // it is kept, so this is the truth, and adds nothing
	wantConflict(t, o.Park(t.Context(), []audit.Sealed{event(t, 1, severe)}), first)
	wantFull(t, o.Park(t.Context(), []audit.Sealed{event(t, 3)}))
	wantCount(t, o, 0, 2)

	aside, err := o.List(t.Context(), api.ParkedQueuePoisoned, "", 1)
	must(t, err)
	want := []api.ParkedEntry{{
		Place: aside[0].Place, EventID: first.Event.EventID.String(), Content: string(first.Content), ActorType: "user", ActorID: "alice",
		ReceivedAt: "2026-03-01T12:00:01.123456Z", Reason: sentence(datastorage.ErrUnfit), MovedAsideAt: aside[0].MovedAsideAt,
	}}
	if diff := cmp.Diff(want, aside); diff != "" {
		t.Errorf("moved aside (-want +got):\n%s", diff)
	}
	rest, err := o.List(t.Context(), api.ParkedQueuePoisoned, aside[0].Place, 10)
	must(t, err)
	wantFound(t, o.Retry, 1, aside[0].Place)
	wantFound(t, o.Retry, 0, aside[0].Place)
	wantCount(t, o, 1, 1)
	wantFound(t, purge(o, api.ParkedQueuePoisoned), 1, rest[0].Place)
	kept := &memory{}
	stop = redriving(t, o, kept)
	await(t, o, 0)
	stop()
	kept.wantInOrder(t, first)
	if o.Moved() != 1 {
		t.Errorf("%d moved, want 1", o.Moved())
	}
	must(t, o.Park(t.Context(), []audit.Sealed{event(t, 2, severe), event(t, 3)})) // the purged id is free again
	if age, err := o.OldestAge(t.Context()); err != nil || age < 0 {
		t.Errorf("oldest age %s, %v", age, err)
	}
}

func TestARangeIsNoPlace(t *testing.T) {
	o, _ := open(t, 0)
	must(t, o.Park(t.Context(), []audit.Sealed{event(t, 1)}))
	for _, place := range []string{"", "-", "+", "(1-0", "1772366400000", "1-0-0"} {
		if n, err := o.Purge(t.Context(), api.ParkedQueueWaiting, []string{place}); err == nil {
			t.Errorf("place %q: %d purged, want an error", place, n)
		}
	}
	wantCount(t, o, 1, 0)
}
