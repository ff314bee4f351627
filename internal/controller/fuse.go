package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// fuse keeps the workers from waiting, one after another, for a service that takes
// requests and does not answer: after one that had no answer in time all fail at
// once for a while; then one asks for all whether that is over.
type fuse struct {
	now func() time.Time

	mu      sync.Mutex
	until   time.Time // when it may be asked again; zero: it answers
	probing bool      // somebody asks
}

// fuseRest is how long a service that does not answer is left alone.
const fuseRest = 3 * time.Second

var errSilent = fmt.Errorf("%w: it did not answer in time", datastorage.ErrUnavailable)

// ask makes a request, unless it is known to have no answer.
func (f *fuse) ask(ctx context.Context, request func() error) error {
	probe, ok := f.enter()
	if !ok {
		return errSilent
	}
	err := request()
	silent := err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded)
	f.leave(probe, silent)
	if silent {
		return errSilent
	}
	return err
}

func (f *fuse) enter() (probe, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.until.IsZero() {
		return false, true
	}
	if f.probing || f.now().Before(f.until) {
		return false, false
	}
	f.probing = true
	return true, true
}

func (f *fuse) leave(probe, silent bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if probe {
		f.probing = false
	}
	f.until = time.Time{}
	if silent {
		f.until = f.now().Add(fuseRest)
	}
}

// fusedAudit is an Audit behind a fuse.
type fusedAudit struct {
	Audit
	fuse *fuse
}

// Record sends an event.
func (a fusedAudit) Record(ctx context.Context, e datastorage.AuditEvent) (receipt datastorage.Receipt, err error) {
	err = a.fuse.ask(ctx, func() error {
		receipt, err = a.Audit.Record(ctx, e)
		return err
	})
	return receipt, err
}

// fusedCatalog is a Catalog behind a fuse.
type fusedCatalog struct {
	Catalog
	fuse *fuse
}

// WorkflowVersion looks a workflow up.
func (c fusedCatalog) WorkflowVersion(ctx context.Context, name, version string) (entry datastorage.Workflow, err error) {
	err = c.fuse.ask(ctx, func() error {
		entry, err = c.Catalog.WorkflowVersion(ctx, name, version)
		return err
	})
	return entry, err
}
