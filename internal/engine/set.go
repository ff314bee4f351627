package engine

import (
	"fmt"
	"sync"
)

// Set holds the engines of a cluster by the names that catalog entries give them.
// An engine whose kinds a cluster lacks is known, and may come later.
type Set struct {
	mu      sync.RWMutex
	engines map[string]Engine
	missing map[string]string // why an engine is not there
}

// SetOf holds these engines.
func SetOf(engines map[string]Engine) *Set {
	return &Set{engines: engines, missing: map[string]string{}}
}

// Get is the engine of a name. The error says why there is none, and what to do.
func (s *Set) Get(name string) (Engine, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e, there := s.engines[name]; there {
		return e, nil
	}
	why := s.missing[name]
	if why == "" {
		why = "nobody knows it"
	}
	return nil, fmt.Errorf("engine %q is not available: %s", name, why)
}

// Add makes an engine available.
func (s *Set) Add(name string, e Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engines[name] = e
	delete(s.missing, name)
}

// Lack notes why an engine is not available.
func (s *Set) Lack(name, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missing[name] = why
}
