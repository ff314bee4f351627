// Package report sums a finished run up: what took how long, what the longest
// chain of steps was, and how much faster it was than one step after the other.
//
//	[]progress.Event ──► From ──► Report ──► Text (Gantt chart), HTML, JUnit, JSON
//
// It is pure: a journal read back from disk gives the same report as the run.
package report

import (
	"time"

	"kubernaut.ai/kubernaut/internal/environment/progress"
)

// Report is the sum of one run. All durations are seconds.
type Report struct {
	Environment     string    `json:"environment,omitempty"`
	Began           time.Time `json:"began"`
	Ready           bool      `json:"ready"` // every step is ready
	WallSeconds     float64   `json:"wallSeconds"`
	SerialSeconds   float64   `json:"serialSeconds"`   // all steps one by one
	CriticalSeconds float64   `json:"criticalSeconds"` // the longest chain of steps, as measured
	Critical        []string  `json:"critical"`        // the steps of that chain
	Speedup         float64   `json:"speedup"`         // SerialSeconds / WallSeconds
	Steps           []Step    `json:"steps"`           // in plan order
	Images          []Image   `json:"images,omitempty"`
	Usage           *Usage    `json:"usage,omitempty"` // of the cluster; nil where it cannot be read
	Error           string    `json:"error,omitempty"`
}

// Step is one bar of the chart.
type Step struct {
	Name          string         `json:"name"`
	State         progress.State `json:"state"`
	After         []string       `json:"after,omitempty"`
	StartSeconds  float64        `json:"startSeconds"`            // since the run began
	QueuedSeconds float64        `json:"queuedSeconds,omitempty"` // waited for free cores
	Seconds       float64        `json:"seconds"`
	Critical      bool           `json:"critical,omitempty"`
	Started       bool           `json:"started,omitempty"`      // it ran, if only for a moment
	HeldBy        string         `json:"heldBy,omitempty"`       // the last of After to become ready
	QueuedBehind  string         `json:"queuedBehind,omitempty"` // who kept the cores busy
	Waits         []Wait         `json:"waits,omitempty"`        // what it said it was doing, in order
	UsualSeconds  float64        `json:"usualSeconds,omitempty"` // as it was measured before
	Note          string         `json:"note,omitempty"`
	Error         string         `json:"error,omitempty"`
}

// Wait is what a step did or waited for, and for how long.
type Wait struct {
	For     string  `json:"for"`
	Seconds float64 `json:"seconds"`
}

// Image is how long one image took to become usable; 0: it was there.
type Image struct {
	Name          string  `json:"name"`
	MadeSeconds   float64 `json:"madeSeconds"`
	LoadedSeconds float64 `json:"loadedSeconds"` // into the node
	PushedSeconds float64 `json:"pushedSeconds"` // to the registry
	PulledSeconds float64 `json:"pulledSeconds"` // by the node, as it says
}

// Usage is what the cluster took while it came up.
type Usage struct {
	PeakBytes  int64    `json:"peakBytes"`  // memory that is no file cache
	CPUSeconds float64  `json:"cpuSeconds"` // of all processes of the cluster
	Cores      int      `json:"cores"`      // of the machine
	Samples    []Sample `json:"samples,omitempty"`
}

// Sample is one look at the cluster. CPUSeconds is the sum so far.
type Sample struct {
	At         float64 `json:"at"` // seconds since the run began
	Bytes      int64   `json:"bytes"`
	CPUSeconds float64 `json:"cpuSeconds"`
}

// From makes the report of the events of one run.
func From(events []progress.Event) Report {
	var board progress.Board
	var r Report
	end := time.Time{}
	told := notes{}
	behind := map[string]string{}
	for _, e := range events {
		s := board.Apply(e)
		told.take(e)
		if s != nil && e.State == progress.Queued {
			behind[s.Name] = board.WaitsFor(s)
		}
		end = e.At
		if e.Step == "" {
			r.Error = e.Error
		}
	}
	r.Began, r.WallSeconds = board.Began, end.Sub(board.Began).Seconds()
	r.Ready = len(board.Steps) > 0
	for _, s := range board.Steps {
		step := measured(s, board.Began, end)
		step.Waits, step.QueuedBehind = told.of(s.Name, end), behind[s.Name]
		r.Ready = r.Ready && s.State == progress.Ready
		r.SerialSeconds += step.Seconds
		r.Steps = append(r.Steps, step)
	}
	r.critical()
	r.held()
	if r.WallSeconds > 0 {
		r.Speedup = r.SerialSeconds / r.WallSeconds
	}
	return r
}

func measured(s *progress.Step, began, end time.Time) Step {
	step := Step{Name: s.Name, State: s.State, After: s.After, Note: s.Note, Error: s.Error, UsualSeconds: s.Expected.Seconds()}
	if s.Started.IsZero() {
		return step
	}
	step.Started = true
	step.StartSeconds = s.Started.Sub(began).Seconds()
	step.Seconds = s.Took(end).Seconds()
	if !s.Queued.IsZero() {
		step.QueuedSeconds = s.Started.Sub(s.Queued).Seconds()
	}
	return step
}

// critical finds the chain of steps whose measured times add up to the most.
// Steps come in plan order, so what a step waits for is summed up before it.
func (r *Report) critical() {
	index := map[string]int{}
	length := make([]float64, len(r.Steps))
	before := make([]int, len(r.Steps))
	last := -1
	for i, s := range r.Steps {
		index[s.Name] = i
		before[i] = -1
		for _, name := range s.After {
			if at, ok := index[name]; ok && (before[i] < 0 || length[at] > length[before[i]]) {
				before[i] = at
			}
		}
		length[i] = s.Seconds
		if before[i] >= 0 {
			length[i] += length[before[i]]
		}
		if last < 0 || length[i] > length[last] {
			last = i
		}
	}
	if last < 0 {
		return
	}
	r.CriticalSeconds = length[last]
	for at := last; at >= 0; at = before[at] {
		r.Steps[at].Critical = true
		r.Critical = append([]string{r.Steps[at].Name}, r.Critical...)
	}
}
