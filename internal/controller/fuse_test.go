package controller

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/audit"
)

// silence takes every request and does not answer, until it is over.
type silence struct {
	over  bool
	asked int
}

func (s *silence) wait(ctx context.Context) error {
	s.asked++
	if s.over {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *silence) Record(ctx context.Context, _ datastorage.AuditEvent) (datastorage.Receipt, error) {
	return datastorage.Receipt{}, s.wait(ctx)
}

func (s *silence) WorkflowVersion(ctx context.Context, _, _ string) (datastorage.Workflow, error) {
	return datastorage.Workflow{}, s.wait(ctx)
}

// TestNobodyWaitsForASilentDataStorageTwice: one worker with much to do loses the
// time of one request to it, not that of all.
func TestNobodyWaitsForASilentDataStorageTwice(t *testing.T) {
	for name, patience := range map[string]time.Duration{"audit": auditPatience, "catalog": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage, later := &silence{}, time.Duration(0)
				ports := Ports{Audit: storage, Catalog: storage, Now: func() time.Time { return time.Now().Add(later) }}.complete()
				library := &Library{Catalog: ports.Catalog}
				try := func(i int) error {
					if name == "audit" {
						return send(t.Context(), ports.Audit, []audit.Event{{}})
					}
					ref := v1alpha1.WorkflowRef{WorkflowID: "heal", Version: string(rune('a' + i))} // each is asked for once
					if w := library.Resolve(t.Context(), ref); w.Resolved == nil {
						return errors.New(w.Unavailable)
					}
					return nil
				}
				began := time.Now()
				for i := range 20 {
					if err := try(i); err == nil {
						t.Fatal("what had no answer is taken for safe")
					}
				}
				if took := time.Since(began); took != patience || storage.asked != 1 {
					t.Errorf("20 tries took %s and %d requests, want %s and one", took, storage.asked, patience)
				}
				later += fuseRest
				if err := try(20); err == nil || storage.asked != 2 {
					t.Errorf("after a rest: %v, asked %d times; want one more request without an answer", err, storage.asked)
				}
				storage.over = true
				later += fuseRest
				for i := range 20 {
					if err := try(30 + i); err != nil {
						t.Errorf("when it answers again: %v", err)
					}
				}
			})
		})
	}
}

// TestOneAsksForAll: while somebody asks whether a silence is over nobody else does.
func TestOneAsksForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage, later := &silence{}, time.Duration(0)
		ports := Ports{Audit: storage, Catalog: storage, Now: func() time.Time { return time.Now().Add(later) }}.complete()
		lost := send(t.Context(), ports.Audit, []audit.Event{{}})
		later += fuseRest
		began := time.Now()
		lostToo := send(t.Context(), ports.Audit, make([]audit.Event, 5))
		if lost == nil || lostToo == nil || storage.asked != 2 || time.Since(began) != auditPatience {
			t.Errorf("%v, then %v after %s, asked %d times; want one request each", lost, lostToo, time.Since(began), storage.asked)
		}
	})
}
