package simulation

import (
	"context"
	"fmt"
	"sync"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
)

// storage is a Data Storage: an id names one content for ever. How it answers is
// set beforehand, for each transition, so that the order in which one reconcile
// sends several events makes no difference.
type storage struct {
	mu      sync.Mutex // one reconcile sends its events at the same time
	answers map[string]mode
	events  map[string]audit.Sealed // by id
	broken  string                  // the promise that a sender broke
}

// mode is how Data Storage answers.
type mode int

const (
	up   mode = iota
	down      // it keeps nothing and says so
	mute      // it keeps the event, and the answer is lost
)

// anything stands for all transitions that are not named.
const anything = ""

func newStorage() *storage {
	return &storage{answers: map[string]mode{}, events: map[string]audit.Sealed{}}
}

func (s *storage) modeOf(transition string) mode {
	if m, ok := s.answers[transition]; ok {
		return m
	}
	return s.answers[anything]
}

var errDown = fmt.Errorf("%w: connection refused", datastorage.ErrUnavailable)

// WorkflowVersion knows every workflow, unless Data Storage is down.
func (r *replica) WorkflowVersion(_ context.Context, name, version string) (datastorage.Workflow, error) {
	s := r.sim.storage
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.dead || s.modeOf(anything) != up {
		return datastorage.Workflow{}, errDown
	}
	return datastorage.Workflow{
		WorkflowName: name, Version: version, ContainerImage: "registry/" + name, ContainerDigest: fmt.Sprintf("sha256:%064d", 1),
		ExecutionEngine: "tekton", Status: datastorage.WorkflowStatusActive,
	}, nil
}

// Record keeps an event.
func (r *replica) Record(_ context.Context, e datastorage.AuditEvent) (datastorage.Receipt, error) {
	s := r.sim.storage
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.modeOf(e.EventAction)
	if r.dead || m == down {
		return datastorage.Receipt{}, errDown
	}
	if problems := audit.Check(&e, audit.Window{}); len(problems) > 0 {
		s.broken = fmt.Sprintf("every event is valid: %v", problems)
	}
	sealed, err := audit.Seal(e)
	if err != nil {
		s.broken = fmt.Sprintf("every event is valid: %v", err)
		return datastorage.Receipt{}, datastorage.ErrInvalid
	}
	known, there := s.events[e.EventID.String()]
	if there && !known.SameContent(sealed) {
		if r.sim.truth.sabotaged[e.ResourceID] { // a second run, after somebody removed the first by force
			return datastorage.Receipt{}, datastorage.ErrConflict
		}
		s.broken = fmt.Sprintf("an audit event never changes under its id: %s\nstored %s\nsent   %s", e.EventType, known.Content, sealed.Content)
		return datastorage.Receipt{}, datastorage.ErrConflict
	}
	s.events[e.EventID.String()] = sealed
	if m == mute {
		return datastorage.Receipt{}, errDown
	}
	return datastorage.Receipt{EventID: e.EventID}, nil
}

// has says whether the trail holds an event of an execution or of a block.
func (s *storage) has(of, transition string) bool {
	_, there := s.events[audit.EventID(of, transition).String()]
	return there
}
