package postgres_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

// monthsAhead keeps the partitions of a time that is years away.
func monthsAhead(t *testing.T, f fixture) {
	now := time.Date(2031, 10, 31, 23, 59, 59, 0, time.UTC)
	f.keepMonthsAhead(t, now)
	for _, month := range []string{"203109", "203110", "203111", "203112", "203201"} {
		if got := f.number(t, "SELECT count(*) FROM pg_inherits WHERE inhrelid = to_regclass('audit_events_"+month+"')"); got != 1 {
			t.Errorf("the partition of %s is not there", month)
		}
	}
}

// keepMonthsAhead keeps partitions ahead until those of a time are there.
func (f fixture) keepMonthsAhead(t *testing.T, now time.Time) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.KeepMonthsAhead(ctx, func() time.Time { return now }) })
	for deadline := time.Now().Add(time.Minute); f.MonthsAhead(now) != 3; {
		if time.Now().After(deadline) {
			t.Fatalf("%d months are ahead, want 3", f.MonthsAhead(now))
		}
		<-time.After(time.Millisecond)
	}
	stop()
	running.Wait()
}

// monthsRemembered refuses an event with the SQLSTATE of a partition that is missing.
func monthsRemembered(t *testing.T, f fixture) {
	now := noon.AddDate(0, 1, 0)
	f.keepMonthsAhead(t, now)
	unfit := event(t, 1, func(e *audit.Event) { e.EventOutcome = "maybe" })
	if _, err := f.Append(t.Context(), []audit.Sealed{unfit}); !errors.Is(err, datastorage.ErrUnfit) {
		t.Errorf("the error is %v, want ErrUnfit", err)
	}
	if got := f.MonthsAhead(now); got != 3 {
		t.Errorf("%d months are known to be ahead, want 3", got)
	}
}
