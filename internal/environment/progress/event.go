// Package progress turns what happens to the steps of a plan into something
// people and programs can follow.
//
//	run ──► Event ──► Sink: terminal (live), plain (logs), JSON lines (the journal)
//
// Whoever runs a plan only sends events; a Board folds them into the present
// state, and the renderers are pure functions of a Board and the time.
package progress

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// State is where a step stands.
type State string

// The states of a step, in the order in which it passes through them.
const (
	Planned State = "planned" // part of the plan; After, Weight and ExpectedSeconds say what is known of it
	Queued  State = "queued"  // all it needs is there; it waits for free cores
	Running State = "running"
	Ready   State = "ready"   // done, and what it provides can be used
	Failed  State = "failed"  // a root cause; Error says why
	Stopped State = "stopped" // was running when another step failed, or the user interrupted
	Skipped State = "skipped" // never ran, for the same reasons
)

// Ended tells whether a step in this state is over.
func (s State) Ended() bool {
	return s == Ready || s == Failed || s == Stopped || s == Skipped
}

// Event is one fact about one step, or, when Step is empty, about the whole run.
type Event struct {
	At              time.Time `json:"at"`
	Step            string    `json:"step,omitempty"`
	State           State     `json:"state"`
	Note            string    `json:"note,omitempty"`  // what it is doing, or how it ended
	Error           string    `json:"error,omitempty"` // of a failed step or run
	After           []string  `json:"after,omitempty"` // planned: the steps it waits for
	Weight          int       `json:"weight,omitempty"`
	ExpectedSeconds float64   `json:"expectedSeconds,omitempty"` // planned: 0 when unknown
	LimitSeconds    float64   `json:"limitSeconds,omitempty"`    // planned: after that it is stuck; 0: never
}

// Sink receives events, in order, from several goroutines.
type Sink interface{ Show(Event) }

// Display is a Sink that draws on its own between events, until it is closed.
type Display interface {
	Sink
	Close()
}

// All hands each event to every sink, in the order given.
func All(sinks ...Sink) Sink { return all(sinks) }

type all []Sink

func (a all) Show(e Event) {
	for _, s := range a {
		s.Show(e)
	}
}

// Recorder keeps the events, for the report.
type Recorder struct {
	mu     sync.Mutex
	events []Event
}

// Show keeps the event.
func (r *Recorder) Show(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// Events returns what was kept so far.
func (r *Recorder) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Event(nil), r.events...)
}

// JSON writes one line per event: the journal on disk, and `-o json`. What it
// writes can be read back with Read.
func JSON(w io.Writer) Sink { return &journal{out: json.NewEncoder(w)} }

type journal struct {
	mu  sync.Mutex
	out *json.Encoder
}

// Show writes the event. A journal that cannot be written must not stop what it
// tells of: the error is dropped, and Read reports the gap.
func (j *journal) Show(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	_ = j.out.Encode(e)
}

// Read returns the events of a journal. A last line cut short, as a killed
// process leaves it, ends the journal without an error.
func Read(r io.Reader) ([]Event, error) {
	var events []Event
	for in := json.NewDecoder(r); ; {
		var e Event
		err := in.Decode(&e)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return events, nil
		case err != nil:
			return events, fmt.Errorf("event %d of the journal: %w", len(events)+1, err)
		}
		events = append(events, e)
	}
}
