package controller

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestAReconcileThatDoesNotEndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPulse(time.Now)
		release := make(chan struct{})
		hanging := p.watch(reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
			<-release
			return reconcile.Result{}, nil
		}))
		go func() {
			_, _ = hanging.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "team", Name: "hangs"}})
		}()
		<-time.After(stuck)
		synctest.Wait()
		if err := p.alive(nil); err != nil {
			t.Errorf("after %s: %v", stuck, err)
		}
		<-time.After(time.Second)
		if err := p.alive(nil); err == nil || !strings.Contains(err.Error(), "team/hangs") {
			t.Errorf("a reconcile hangs: %v, want an error that names it", err)
		}
		close(release)
		synctest.Wait()
		if err := p.alive(nil); err != nil {
			t.Errorf("after its end: %v", err)
		}
	})
}
