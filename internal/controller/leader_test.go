package controller_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"kubernaut.ai/kubernaut/internal/controller"
)

var errCut = errors.New("the network of this replica is cut")

// cut is a connection that can be taken away, as from a process that was killed.
type cut struct {
	http.RoundTripper
	gone *atomic.Bool
}

func (c cut) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.gone.Load() {
		return nil, errCut
	}
	return c.RoundTripper.RoundTrip(r)
}

// replica starts a controller that takes part in the election, and returns what
// stops it and what takes its connection away.
func (w *world) replica(ended chan<- error) (stop func(), kill func()) {
	w.t.Helper()
	gone := &atomic.Bool{}
	cfg := rest.CopyConfig(shared.kube.Config)
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return cut{rt, gone} })
	mgr, err := controller.NewManager(cfg, w.cfg)
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	w.must(controller.Setup(ctx, mgr, w.cfg, controller.Ports{Catalog: w.storage, Audit: w.storage}))
	go func() { ended <- mgr.Start(ctx) }()
	if !mgr.GetCache().WaitForCacheSync(w.t.Context()) { // also of one that does not lead
		w.t.Fatal("the caches of a replica are not filled")
	}
	return cancel, func() { gone.Store(true) }
}

// backlog is how many executions all controllers of this process have yet to look at.
func (w *world) backlog() float64 {
	w.t.Helper()
	families, err := metrics.Registry.Gather()
	w.must(err)
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "workqueue_depth" && l.GetName() == "name" && l.GetValue() == "workflowexecution" {
					sum += m.GetGauge().GetValue()
				}
			}
		}
	}
	return sum
}

// TestAStandbyPilesUpNothing: what the leader has done waits for nobody.
func TestAStandbyPilesUpNothing(t *testing.T) {
	w := newWorld(t)
	w.cfg.LeaderElection = true
	ended := make(chan error, 2)
	before := w.backlog()
	stopFirst, _ := w.replica(ended)
	t.Cleanup(func() { stopFirst(); <-ended })
	w.pipelineRun(w.submit("first")) // it leads
	stopSecond, _ := w.replica(ended)
	t.Cleanup(func() { stopSecond(); <-ended })
	ex := w.submit("second", on(w.ns+"/deployment/other"))
	w.succeed(w.pipelineRun(ex))
	w.settled(ex)
	w.eventually("nobody has anything left to look at", func() error {
		if left := w.backlog() - before; left > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
}

// TestALeaderIsReplaced: a leader that is stopped hands over at once; after one that
// is gone without a word its lease has to run out.
func TestALeaderIsReplaced(t *testing.T) {
	for _, c := range []struct {
		name  string
		leave func(stop, kill func())
		limit time.Duration
	}{
		{"stopped", func(stop, _ func()) { stop() }, 5 * time.Second}, // usually one; less than the lease in any case
		{"killed", func(_, kill func()) { kill() }, 20 * time.Second}, // usually the lease of ten
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.cfg.LeaderElection = true
			ended := make(chan error, 2)
			stopFirst, kill := w.replica(ended)
			w.pipelineRun(w.submit("before")) // it leads
			stopSecond, _ := w.replica(ended)
			left := time.Now()
			c.leave(stopFirst, kill)
			ex := w.submit("after", on(w.ns+"/deployment/other"))
			w.pipelineRun(ex)
			took := time.Since(left)
			t.Logf("the successor started a run %s after the leader was %s", took.Round(time.Millisecond), c.name)
			if took > c.limit {
				t.Errorf("the successor took %s, want at most %s", took, c.limit)
			}
			stopFirst()
			stopSecond()
			<-ended
			<-ended
		})
	}
}
