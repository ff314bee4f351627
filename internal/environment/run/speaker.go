package run

import (
	"sync"
	"time"

	"kubernaut.ai/kubernaut/internal/environment/progress"
)

// speaker turns the notes of one task into events, until the task has returned:
// a goroutine that talks on must not bring an ended step back to life.
type speaker struct {
	sink progress.Sink
	now  func() time.Time
	step string

	mu   sync.Mutex
	over bool
	last string
}

func (s *speaker) say(note string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || note == "" || note == s.last {
		return
	}
	s.last = note
	s.sink.Show(progress.Event{At: s.now(), Step: s.step, State: progress.Running, Note: note})
}

func (s *speaker) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}
