package postgres

import (
	"context"
	"time"

	"kubernaut.ai/kubernaut/internal/audit"
)

const (
	monthsAhead  = 3             // partitions are there this many months before they are needed
	monthsEvery  = 6 * time.Hour // how often that is looked after
	monthsRetry  = 10 * time.Second
	monthsFormat = "2006-01"
)

// makeMonthsOf makes the partitions that events need, unless they are known to
// exist. Mostly the job has made them long before.
func (s *Store) makeMonthsOf(ctx context.Context, events []*audit.Sealed) error {
	for i := range events {
		if err := s.makeMonth(ctx, events[i].Event.EventTimestamp); err != nil {
			return err
		}
	}
	return nil
}

// makeMonth makes the partition that a time falls into.
func (s *Store) makeMonth(ctx context.Context, at time.Time) error {
	month := monthOf(at)
	s.mu.Lock()
	known := s.months[month]
	s.mu.Unlock()
	if known {
		return nil
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	var made bool
	if err := s.pool.QueryRow(ctx, "SELECT audit_make_month($1)", at).Scan(&made); err != nil {
		return err
	}
	s.mu.Lock()
	s.months[month] = true
	s.mu.Unlock()
	if made {
		s.log.Info("Partition made", "month", month)
	}
	return nil
}

// MonthsAhead is how many months after that of now are known to have their partition.
func (s *Store) MonthsAhead(now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := time.Date(now.UTC().Year(), now.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	ahead := 0
	for s.months[first.AddDate(0, ahead+1, 0).Format(monthsFormat)] {
		ahead++
	}
	return ahead
}

// forgetMonthsOf forgets that the partitions which events need are there.
func (s *Store) forgetMonthsOf(events []*audit.Sealed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		delete(s.months, monthOf(e.Event.EventTimestamp))
	}
}

func monthOf(at time.Time) string { return at.UTC().Format(monthsFormat) }

// KeepMonthsAhead makes the partitions of the coming months, again and again,
// until ctx ends.
func (s *Store) KeepMonthsAhead(ctx context.Context, now func() time.Time) {
	for {
		next := monthsEvery
		if err := s.makeMonthsAhead(ctx, now().UTC()); err != nil {
			s.log.Warn("Partitions ahead could not be made", "error", err, "again", monthsRetry)
			next = monthsRetry
		}
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return
		}
	}
}

func (s *Store) makeMonthsAhead(ctx context.Context, now time.Time) error {
	first := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	for ahead := -1; ahead <= monthsAhead; ahead++ {
		if err := s.makeMonth(ctx, first.AddDate(0, ahead, 0)); err != nil {
			return err
		}
	}
	return nil
}
