package progress

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Board is the state of a run after some events. The zero Board is empty.
type Board struct {
	Began time.Time // of the first event
	Steps []*Step   // in plan order
	index map[string]*Step
}

// Step is what the events said about one step.
type Step struct {
	Name     string
	State    State
	After    []string
	Weight   int
	Expected time.Duration // 0 when unknown
	Limit    time.Duration // after that it counts as stuck; 0: never
	Queued   time.Time     // when all it needs was there
	Started  time.Time
	Ended    time.Time
	Note     string
	Error    string
}

// Took is how long the step ran, up to now while it runs.
func (s *Step) Took(now time.Time) time.Duration {
	switch {
	case s.Started.IsZero():
		return 0
	case s.Ended.IsZero():
		return now.Sub(s.Started)
	default:
		return s.Ended.Sub(s.Started)
	}
}

// Apply adds one event and returns the step it is about, nil for the whole run.
func (b *Board) Apply(e Event) *Step {
	if b.Began.IsZero() {
		b.Began = e.At
	}
	if e.Step == "" {
		return nil
	}
	s := b.step(e.Step)
	if e.State == Planned {
		s.After, s.Weight = e.After, e.Weight
		s.Expected = time.Duration(e.ExpectedSeconds * float64(time.Second))
		s.Limit = time.Duration(e.LimitSeconds * float64(time.Second))
	}
	b.times(s, e)
	s.State = e.State
	if e.Note != "" {
		s.Note = e.Note
	}
	s.Error = e.Error
	return s
}

func (b *Board) times(s *Step, e Event) {
	switch {
	case e.State == Queued:
		s.Queued = e.At
	case e.State == Running && s.Started.IsZero():
		s.Started = e.At
	case e.State.Ended():
		s.Ended = e.At
	}
}

func (b *Board) step(name string) *Step {
	if s, ok := b.index[name]; ok {
		return s
	}
	if b.index == nil {
		b.index = map[string]*Step{}
	}
	s := &Step{Name: name}
	b.index[name] = s
	b.Steps = append(b.Steps, s)
	return s
}

// In returns the steps in any of the states, in plan order.
func (b *Board) In(states ...State) []*Step {
	var found []*Step
	for _, s := range b.Steps {
		if slices.Contains(states, s.State) {
			found = append(found, s)
		}
	}
	return found
}

// WaitsFor says what a step that has not started waits for: the steps that are
// not ready yet, or the steps that keep the cores busy.
func (b *Board) WaitsFor(s *Step) string {
	if s.State == Queued {
		var busy []string
		for _, r := range b.In(Running) {
			if r.Weight > 0 {
				busy = append(busy, r.Name)
			}
		}
		return "free cores, busy with " + list(busy)
	}
	var missing []string
	for _, name := range s.After {
		if other, ok := b.index[name]; ok && other.State != Ready {
			missing = append(missing, name)
		}
	}
	return list(missing)
}

// Left is the expected time to the end of the run: the longest chain of steps
// not ready yet, by expectation. A step that is late counts as ending now.
func (b *Board) Left(now time.Time) time.Duration {
	finish := map[string]time.Duration{}
	var longest time.Duration
	for _, s := range b.Steps { // plan order: prerequisites come first
		if s.State.Ended() {
			continue
		}
		var begin time.Duration
		for _, name := range s.After {
			begin = max(begin, finish[name])
		}
		finish[s.Name] = begin + max(0, s.Expected-s.Took(now))
		longest = max(longest, finish[s.Name])
	}
	return longest
}

// list writes up to three names and counts the rest.
func list(names []string) string {
	if len(names) > 4 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

// Duration writes a time as people say it: 0.4s, 12.3s, 1m05s.
func Duration(d time.Duration) string {
	if d < 99950*time.Millisecond {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}

// Slow tells whether a step takes much longer than it usually does. It is not
// stuck for that: until its limit it is waited for.
func (s *Step) Slow(now time.Time) bool {
	return s.Expected > 0 && s.Ended.IsZero() && s.Took(now) > 2*s.Expected+5*time.Second
}

// about is the part of a running step's line that tells how long it may take.
func about(s *Step, now time.Time) string {
	switch {
	case s.Expected == 0:
		return ""
	case s.Slow(now) && s.Limit > 0:
		return " of about " + Duration(s.Expected) + ", slow; stuck after " + Duration(s.Limit)
	}
	return " of about " + Duration(s.Expected)
}
