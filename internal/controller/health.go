package controller

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// How long one reconcile may take: its requests are given up at the first, and when
// it is still there at the second the process is stuck and is better started again.
const (
	workPatience = time.Minute
	stuck        = 5 * time.Minute
)

// pulse knows when each reconcile under way began.
type pulse struct {
	mu    sync.Mutex
	began map[*reconcile.Request]time.Time
	now   func() time.Time
}

func newPulse(now func() time.Time) *pulse {
	return &pulse{began: map[*reconcile.Request]time.Time{}, now: now}
}

// watch notes when each reconcile of r begins and ends.
func (p *pulse) watch(r reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
		p.note(&req, true)
		defer p.note(&req, false)
		return r.Reconcile(ctx, req)
	})
}

func (p *pulse) note(req *reconcile.Request, begins bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if begins {
		p.began[req] = p.now()
		return
	}
	delete(p.began, req)
}

// alive is an error when a reconcile does not come to its end.
func (p *pulse) alive(*http.Request) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for req, at := range p.began {
		if took := p.now().Sub(at); took > stuck {
			return fmt.Errorf("the work on %s has not ended for %s", req, took.Round(time.Second))
		}
	}
	return nil
}
