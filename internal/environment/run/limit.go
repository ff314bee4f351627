package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/progress"
)

// Stuck is a step that was ended at its limit: it took longer than a slow
// machine explains.
type Stuck struct {
	Step            string
	Limit, Expected time.Duration
	Err             error // what the step said of what it was waiting for
}

// Error tells what was waited for, for how long, and how to wait longer.
func (s *Stuck) Error() string {
	usual := ""
	if s.Expected > 0 {
		usual = fmt.Sprintf("; it usually takes %s", progress.Duration(s.Expected))
	}
	return fmt.Sprintf("%v\nstuck: not done within %s%s; if this machine is only slow: --timeout %s=%s",
		s.Err, progress.Duration(s.Limit), usual, s.Step, 2*s.Limit)
}

// Unwrap gives what the step itself said.
func (s *Stuck) Unwrap() error { return s.Err }

// limited ends the task at the step's limit.
func limited(s plan.Step, task Task) Task {
	if s.Limit == 0 {
		return task
	}
	return func(ctx context.Context, say func(string)) error {
		inner, cancel := context.WithTimeout(ctx, s.Limit)
		defer cancel()
		err := task(inner, say)
		if err == nil || ctx.Err() != nil || !errors.Is(inner.Err(), context.DeadlineExceeded) {
			return err
		}
		return &Stuck{Step: s.Name, Limit: s.Limit, Expected: s.Expected, Err: err}
	}
}
