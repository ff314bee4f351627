package controller_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/audit"
)

// storage is a Data Storage in memory. It keeps the rules that its clients rely
// on: an id names one content for ever.
type storage struct {
	mu        sync.Mutex
	down      error
	workflows map[string]datastorage.Workflow
	events    []audit.Sealed
	sent      int
}

func newStorage() *storage {
	s := &storage{workflows: map[string]datastorage.Workflow{}}
	s.register(datastorage.Workflow{WorkflowName: "heal", Version: "1.0.0", ContainerImage: "registry/heal:v1",
		ContainerDigest: "sha256:" + fmt.Sprintf("%064d", 1), ExecutionEngine: "tekton", Status: datastorage.WorkflowStatusActive,
		Parameters: []datastorage.WorkflowParameter{{Name: "MODE", Enum: []string{"fast", "slow"}}, {Name: "TOKEN", Secret: true}},
	})
	return s
}

func (s *storage) register(w datastorage.Workflow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workflows[w.WorkflowName+"@"+w.Version] = w
}

// fail makes every request fail with an error; nil ends that.
func (s *storage) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

// count is how many events were received.
func (s *storage) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

var errDown = fmt.Errorf("%w: connection refused", datastorage.ErrUnavailable)

func (s *storage) WorkflowVersion(_ context.Context, name, version string) (datastorage.Workflow, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return datastorage.Workflow{}, s.down
	}
	w, ok := s.workflows[name+"@"+version]
	if !ok {
		return w, datastorage.ErrNotFound
	}
	return w, nil
}

func (s *storage) Record(_ context.Context, e datastorage.AuditEvent) (datastorage.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return datastorage.Receipt{}, s.down
	}
	s.sent++
	if problems := audit.Check(&e, audit.Window{Now: time.Now()}); len(problems) > 0 {
		return datastorage.Receipt{}, fmt.Errorf("%w: %v", datastorage.ErrInvalid, problems)
	}
	sealed, err := audit.Seal(e)
	if err != nil {
		return datastorage.Receipt{}, errors.Join(datastorage.ErrInvalid, err)
	}
	for _, known := range s.events {
		if known.Event.EventID != e.EventID {
			continue
		}
		if !known.SameContent(sealed) {
			return datastorage.Receipt{}, fmt.Errorf("%w: %s\nstored %s\nsent   %s", datastorage.ErrConflict, e.EventType, known.Content, sealed.Content)
		}
		return datastorage.Receipt{EventID: e.EventID}, nil
	}
	s.events = append(s.events, sealed)
	return datastorage.Receipt{EventID: e.EventID}, nil
}

// trail is what happened to one execution, in the order of the events' times.
func (s *storage) trail(ex *v1alpha1.WorkflowExecution) []audit.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []audit.Event
	for _, e := range s.events {
		if e.Event.ResourceID == string(ex.UID) {
			all = append(all, e.Event)
		}
	}
	slices.SortFunc(all, func(a, b audit.Event) int { return a.EventTimestamp.Compare(b.EventTimestamp) })
	return all
}

func (s *storage) actions(ex *v1alpha1.WorkflowExecution) []string {
	var all []string
	for _, e := range s.trail(ex) {
		all = append(all, e.EventAction)
	}
	return all
}
