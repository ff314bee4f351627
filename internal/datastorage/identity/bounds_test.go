package identity_test

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/identity"
)

// clock is moved by hand.
type clock struct{ now atomic.Int64 }

func (c *clock) Now() time.Time { return time.Unix(0, c.now.Load()) }

func (c *clock) forward(d time.Duration) { c.now.Add(int64(d)) }

// withdrawn takes away a right and then the account itself: each holds for as long
// as a yes is kept, and not longer.
func withdrawn(t *testing.T, config *rest.Config, admin kubernetes.Interface) {
	gate, err := identity.New(config, "datastorage")
	must(t, err)
	c := &clock{}
	gate.SetClock(c)
	bearer := token(t, admin, "datastorage")
	create := datastorage.Access{Verb: "create", Resource: "auditevents"}
	caller, err := gate.Identify(t.Context(), bearer)
	must(t, err)
	eventually(t, gate, caller, create)

	must(t, admin.RbacV1().ClusterRoleBindings().Delete(t.Context(), "writer", metav1.DeleteOptions{}))
	allowed, err := gate.Allows(t.Context(), caller, create)
	must(t, err)
	if !allowed {
		t.Error("the answer was not kept")
	}
	never(t, "the right that was taken away", func() (bool, error) {
		c.forward(identity.YesFor)
		return gate.Allows(t.Context(), caller, create)
	})
	must(t, admin.CoreV1().ServiceAccounts("default").Delete(t.Context(), "writer", metav1.DeleteOptions{}))
	never(t, "the account that was deleted", func() (bool, error) {
		c.forward(identity.YesFor)
		_, err := gate.Identify(t.Context(), bearer)
		if errors.Is(err, datastorage.ErrUnauthenticated) {
			return false, nil
		}
		return true, err
	})
}

// never waits until something is over; the API server's own caches take a moment.
func never(t *testing.T, what string, still func() (bool, error)) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		yes, err := still()
		must(t, err)
		if !yes {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s still holds", what)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// TestMadeUpTokensDoNotPileUp asks an API server that takes connections and never
// answers about far more tokens than it is asked at once.
func TestMadeUpTokensDoNotPileUp(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	gate, err := identity.New(&rest.Config{Host: "http://" + silent.Addr().String()}, "datastorage")
	must(t, err)
	var refused atomic.Int64
	var callers sync.WaitGroup
	enough := make(chan struct{})
	const made = 10 * identity.AtOnce
	for n := range made {
		callers.Go(func() {
			_, err := gate.Identify(t.Context(), fmt.Sprint("token ", n))
			if !errors.Is(err, datastorage.ErrBusy) {
				t.Errorf("token %d: %v, want ErrBusy", n, err)
			}
			if refused.Add(1) == made-identity.AtOnce {
				close(enough)
			}
		})
	}
	<-enough                // those beyond the bound come back while the others still wait
	must(t, silent.Close()) // the others need not wait for their time to be over
	callers.Wait()
}
