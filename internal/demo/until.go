package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/internal/connect"
)

// expected is a state of objects that somebody waits for.
type expected struct {
	what   string // in words, for the error
	list   client.ObjectList
	where  []client.ListOption
	within time.Duration
	// holds looks at the filled list. state says what it saw, in words.
	holds func() (done bool, state string)
}

// until waits until e holds. It reads the objects, and reads them again whenever
// a watch says that one of them changed.
func (s *stage) until(ctx context.Context, e expected) error {
	defer s.heart.doing(e.what)()
	c := s.cluster
	within, cancel := context.WithTimeout(ctx, e.within)
	defer cancel()
	state := "nothing was seen"
	for {
		if err := c.Client.List(within, e.list, e.where...); err != nil {
			return e.failed(ctx, state, connect.Explain(err))
		}
		var done bool
		if done, state = e.holds(); done {
			return nil
		}
		if err := e.change(within, c); err != nil {
			return e.failed(ctx, state, err)
		}
	}
}

// change returns when something about the listed objects is new.
func (e expected) change(ctx context.Context, c *connect.Cluster) error {
	from := &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: e.list.GetResourceVersion()}}
	w, err := c.Client.Watch(ctx, e.list.DeepCopyObject().(client.ObjectList), append(e.where, from)...)
	if err != nil {
		return connect.Explain(err)
	}
	defer w.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.ResultChan():
		return nil // a change, or the end of the watch: read again
	}
}

// failed tells what was waited for and what was seen instead.
func (e expected) failed(ctx context.Context, state string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: not within %s; seen last: %s", e.what, e.within, state)
	}
	return fmt.Errorf("%s: %w", e.what, err)
}
