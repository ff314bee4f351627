package environment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	theirs "kubernaut.ai/kubernaut/internal/cluster/existing"
	"kubernaut.ai/kubernaut/internal/environment/derive"
)

// manager is the name under which the environment owns fields of objects.
const manager = "kubernaut"

// atOnce is how many objects are sent side by side.
const atOnce = 8

// workloads is the rank of what runs pods.
const workloads = 3

// rank orders kinds inside a component: what others refer to comes first.
func rank(u *unstructured.Unstructured) int {
	switch u.GetKind() {
	case "Namespace":
		return 0
	case "CustomResourceDefinition", "ServiceAccount", "ConfigMap", "Secret", "ClusterRole", "Role", "Service", "PersistentVolume":
		return 1
	case "Deployment", "StatefulSet", "DaemonSet", "Job", "Pod":
		return workloads
	default:
		return 2
	}
}

// apply sends the objects that differ from what was applied before to the API
// server, which works out what changes, and returns all as they are there now.
// All errors are joined.
func (k *kube) apply(ctx context.Context, objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	return k.inOrder(ctx, objects, k.applyOne)
}

// createMissing makes the objects that are not there and leaves the others alone.
func (k *kube) createMissing(ctx context.Context, objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	return k.inOrder(ctx, objects, func(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
		found, err := k.get(ctx, u)
		if apierrors.IsNotFound(err) {
			return k.applyOne(ctx, u)
		}
		return found, err
	})
}

type sender func(context.Context, *unstructured.Unstructured) (*unstructured.Unstructured, error)

func (k *kube) inOrder(ctx context.Context, objects []*unstructured.Unstructured, send sender) ([]*unstructured.Unstructured, error) {
	sorted := slices.Clone(objects)
	slices.SortStableFunc(sorted, func(a, b *unstructured.Unstructured) int { return cmp.Compare(rank(a), rank(b)) })
	done := make([]*unstructured.Unstructured, len(sorted))
	for from := 0; from < len(sorted); {
		to := from
		for to < len(sorted) && rank(sorted[to]) == rank(sorted[from]) {
			to++
		}
		if err := k.sendAll(ctx, sorted[from:to], done[from:to], send); err != nil {
			return nil, err
		}
		from = to
	}
	return done, nil
}

func (k *kube) sendAll(ctx context.Context, objects, done []*unstructured.Unstructured, send sender) error {
	var group errgroup.Group
	group.SetLimit(atOnce)
	errs := make([]error, len(objects))
	for i, u := range objects {
		group.Go(func() error {
			sent, err := sendOne(ctx, u, send)
			if freed, freeErr := k.freeAddress(ctx, u, err); freed || freeErr != nil {
				sent, err = sendOne(ctx, u, send)
				err = errors.Join(err, freeErr)
			}
			if err != nil {
				errs[i] = fmt.Errorf("applying %s: %w", derive.Of(u), err)
			}
			done[i] = sent
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	return errors.Join(errs...)
}

// sendOne sends an object, again and again while the server only says that it
// is too busy to do it in time.
func sendOne(ctx context.Context, u *unstructured.Unstructured, send sender) (*unstructured.Unstructured, error) {
	for {
		sent, err := send(ctx, u)
		if err == nil || ctx.Err() != nil || !busy(err) {
			return sent, err
		}
	}
}

func busy(err error) bool {
	return apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err)
}

func (k *kube) applyOne(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if k.owner != "" {
		return k.applyOwn(ctx, u)
	}
	return k.applyAny(ctx, u)
}

// applyOwn leaves alone what others made in a cluster that is not ours.
func (k *kube) applyOwn(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	there, err := k.get(ctx, u)
	if err == nil && there.GetLabels()[theirs.OwnerLabel] != k.owner {
		return there, nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	own := u.DeepCopy()
	own.SetLabels(withLabel(u.GetLabels(), theirs.OwnerLabel, k.owner))
	return k.applyAny(ctx, own)
}

func withLabel(labels map[string]string, key, value string) map[string]string {
	all := map[string]string{key: value}
	maps.Copy(all, labels)
	return all
}

func (k *kube) applyAny(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if k.applied.knows(u) {
		found, err := k.get(ctx, u)
		if err == nil && k.applied.unchanged(u, found) {
			return found, nil
		}
	}
	r, err := k.Resource(u)
	if err != nil {
		return nil, err
	}
	applied, err := r.Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: manager, Force: true})
	if err == nil {
		k.applied.note(u, applied)
	}
	return applied, err
}

func (k *kube) get(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	r, err := k.Resource(u)
	if err != nil {
		return nil, err
	}
	return r.Get(ctx, u.GetName(), metav1.GetOptions{})
}

// settle applies the objects and waits until they are ready. Workloads come
// last: a pod whose volume is not bound yet is tried again only after a pause.
func (k *kube) settle(ctx context.Context, objects []*unstructured.Unstructured, say func(string)) error {
	say(fmt.Sprintf("applying %d objects", len(objects)))
	workload := func(u *unstructured.Unstructured) bool { return rank(u) == workloads }
	first, err := k.apply(ctx, slices.DeleteFunc(slices.Clone(objects), workload))
	if err != nil {
		return err
	}
	if err := k.Wait(ctx, slices.DeleteFunc(first, bindsLater), say); err != nil {
		return err
	}
	last, err := k.apply(ctx, slices.DeleteFunc(slices.Clone(objects), func(u *unstructured.Unstructured) bool { return !workload(u) }))
	if err := errors.Join(err, k.applied.keep()); err != nil {
		return err
	}
	return k.Wait(ctx, last, say)
}

// bindsLater tells whether an object is a claim that may be bound only when its
// first pod is scheduled.
func bindsLater(u *unstructured.Unstructured) bool {
	volume, _, _ := unstructured.NestedString(u.Object, "spec", "volumeName")
	return u.GetKind() == "PersistentVolumeClaim" && volume == ""
}
