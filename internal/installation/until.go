package installation

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// until keeps list up to date until holds says so; say is told what is missing,
// each time anew.
func until(ctx context.Context, c client.WithWatch, list client.ObjectList, holds func() (bool, string), say func(string)) error {
	for {
		if err := c.List(ctx, list); err != nil {
			return err
		}
		ok, missing := holds()
		if ok {
			return nil
		}
		say(missing)
		if err := nextChange(ctx, c, list); err != nil {
			return fmt.Errorf("%s: %w", missing, err)
		}
	}
}

// lookAgain is after how long a list is looked at without a change: what was
// refused because of a policy may be let through a moment after that is gone,
// and nothing tells of it.
const lookAgain = time.Second

// nextChange returns when something of the list has changed, or may be tried again.
func nextChange(ctx context.Context, c client.WithWatch, list client.ObjectList) error {
	w, err := c.Watch(ctx, list, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}})
	if err != nil {
		return err
	}
	defer w.Stop()
	again := time.NewTimer(lookAgain)
	defer again.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-again.C:
	case <-w.ResultChan(): // also when the list was too old: the next one is not
	}
	return nil
}
