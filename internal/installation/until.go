package installation

import (
	"context"
	"fmt"

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

// nextChange returns when something of the list has changed.
func nextChange(ctx context.Context, c client.WithWatch, list client.ObjectList) error {
	w, err := c.Watch(ctx, list, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}})
	if err != nil {
		return err
	}
	defer w.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.ResultChan(): // also when the list was too old: the next one is not
		return nil
	}
}
