package report

import (
	"regexp"
	"time"

	"kubernaut.ai/kubernaut/internal/environment/progress"
)

var figures = regexp.MustCompile(`[0-9]+`)

// briefly is what is not worth a line.
const briefly = 50 * time.Millisecond

// notes collects what each step said it was doing, with the time it did so.
type notes map[string]*story

type story struct {
	waits []Wait
	doing string
	since time.Time
}

func (n notes) take(e progress.Event) {
	if e.Step == "" {
		return
	}
	s := n[e.Step]
	if s == nil {
		s = &story{}
		n[e.Step] = s
	}
	switch {
	case e.State == progress.Running && e.Note != "":
		s.end(e.At)
		s.doing, s.since = e.Note, e.At
	case e.State.Ended():
		s.end(e.At)
	}
}

func (s *story) end(at time.Time) {
	if took := at.Sub(s.since); s.doing != "" && took >= briefly {
		s.add(Wait{For: s.doing, Seconds: took.Seconds()})
	}
	s.doing = ""
}

// add joins what was said twice with other things between: several objects are
// waited for side by side and take turns in speaking. What differs only in
// figures is the same wait, and its last figures count.
func (s *story) add(w Wait) {
	for i := range s.waits {
		if figures.ReplaceAllString(s.waits[i].For, "#") == figures.ReplaceAllString(w.For, "#") {
			s.waits[i].For = w.For
			s.waits[i].Seconds += w.Seconds
			return
		}
	}
	s.waits = append(s.waits, w)
}

func (n notes) of(step string, end time.Time) []Wait {
	s := n[step]
	if s == nil {
		return nil
	}
	s.end(end)
	return s.waits
}

// held says for each step which of those it waited for was the last.
func (r *Report) held() {
	ended := map[string]float64{}
	for i, s := range r.Steps {
		ended[s.Name] = s.StartSeconds + s.Seconds
		last := -1.0
		for _, name := range s.After {
			if at, ok := ended[name]; ok && at > last {
				last, r.Steps[i].HeldBy = at, name
			}
		}
	}
}
