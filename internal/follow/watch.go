package follow

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// reopenAfter is the pause before a watch that broke is opened again, so that a
// server that closes every watch at once is not flooded.
const reopenAfter = 500 * time.Millisecond

// giveUpAfter is how often in a row a watch may fail to open.
const giveUpAfter = 20

// watchOne calls see with every state of the execution named key that is
// observed, until see says stop or ctx ends. A missing execution is a NotFound
// error, one that is deleted while it is watched an ordinary one.
func watchOne(ctx context.Context, c client.WithWatch, key client.ObjectKey, see func(*v1alpha1.WorkflowExecution) (bool, error)) error {
	one := []client.ListOption{client.InNamespace(key.Namespace), client.MatchingFields{"metadata.name": key.Name}}
	first := true
	return persistently(ctx, func() (bool, error) {
		var ex v1alpha1.WorkflowExecution
		err := c.Get(ctx, key, &ex)
		switch {
		case apierrors.IsNotFound(err) && !first:
			return true, deleted(key)
		case apierrors.IsNotFound(err):
			return true, err
		case err != nil:
			return false, fmt.Errorf("reading execution %s/%s: %w", key.Namespace, key.Name, err)
		}
		first = false
		if stop, err := see(&ex); stop || err != nil {
			return true, err
		}
		w, err := c.Watch(ctx, &v1alpha1.WorkflowExecutionList{}, one...)
		if err != nil {
			return false, fmt.Errorf("watching execution %s/%s: %w", key.Namespace, key.Name, err)
		}
		return drain(ctx, w, func(e watch.Event) (bool, error) {
			ex, ok := e.Object.(*v1alpha1.WorkflowExecution)
			if !ok {
				return false, nil // an error of the watch: it ends, and is opened again
			}
			if e.Type == watch.Deleted {
				return true, deleted(key)
			}
			return see(ex)
		})
	})
}

func deleted(key client.ObjectKey) error {
	return fmt.Errorf("execution %s/%s was deleted while it was followed; its audit trail stays: kubernaut audit list --execution %s -n %s",
		key.Namespace, key.Name, key.Name, key.Namespace)
}

// persistently calls try until it says done or ctx ends. Errors of tries that
// are not done are forgiven, up to giveUpAfter in a row and never when the
// server forbids.
func persistently(ctx context.Context, try func() (done bool, err error)) error {
	for failures := 0; ; {
		done, err := try()
		switch {
		case done && err == nil:
			return nil
		case ctx.Err() != nil: // what a watch that is torn down says of itself tells nobody anything
			return ctx.Err()
		case done:
			return err
		case err == nil:
			failures = 0
		case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
			return err
		default:
			if failures++; failures >= giveUpAfter {
				return errors.Join(err, fmt.Errorf("given up after %d tries", failures))
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reopenAfter):
		}
	}
}

// drain hands events to see until it says stop, the watch ends, or ctx does.
func drain(ctx context.Context, w watch.Interface, see func(watch.Event) (bool, error)) (bool, error) {
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case e, open := <-w.ResultChan():
			if !open {
				return false, nil
			}
			if stop, err := see(e); stop || err != nil {
				return true, err
			}
		}
	}
}
