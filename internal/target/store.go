package target

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Store reads and writes the records. Every write carries the resourceVersion of
// the record it was decided on; a Conflict means that nothing has happened.
type Store struct {
	Client client.Client // its reads may be stale
	Reader client.Reader // its reads go past every cache
	Rules  Rules
}

// Get reads the record of a key, or nil when there is none.
func (s *Store) Get(ctx context.Context, key string) (*v1alpha1.RemediationTarget, error) {
	return get(ctx, s.Client, key)
}

// GetFresh reads the record of a key past every cache.
func (s *Store) GetFresh(ctx context.Context, key string) (*v1alpha1.RemediationTarget, error) {
	return get(ctx, s.Reader, key)
}

func get(ctx context.Context, from client.Reader, key string) (*v1alpha1.RemediationTarget, error) {
	rt := &v1alpha1.RemediationTarget{}
	name := types.NamespacedName{Namespace: v1alpha1.SystemNamespace, Name: RecordName(key)}
	if err := from.Get(ctx, name, rt); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if rt.Spec.Target != key {
		return nil, fmt.Errorf("RemediationTarget %s is of target %s, not of %s: delete it if nothing holds it", name, rt.Spec.Target, key)
	}
	return rt, nil
}

// Take makes h the holder of the target and returns the record as it is then. rt is
// the record as it was read, nil when there was none.
func (s *Store) Take(ctx context.Context, key string, rt *v1alpha1.RemediationTarget, h v1alpha1.Holder) (*v1alpha1.RemediationTarget, error) {
	if rt == nil {
		rt = &v1alpha1.RemediationTarget{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: v1alpha1.SystemNamespace, Name: RecordName(key), Finalizers: []string{v1alpha1.TargetFinalizer},
			},
			Spec: v1alpha1.RemediationTargetSpec{Target: key},
		}
		if err := s.Client.Create(ctx, rt); err != nil {
			return nil, asConflict(err, rt.Name, "creating the record of "+key)
		}
	}
	next := rt.DeepCopy()
	next.Status = Take(rt.Status, h)
	return next, s.write(ctx, next, "taking "+key)
}

// Release frees the target, notes the outcome of its holder, and returns the record
// as it is then.
func (s *Store) Release(ctx context.Context, rt *v1alpha1.RemediationTarget, o Outcome) (*v1alpha1.RemediationTarget, error) {
	if h := rt.Status.Holder; h == nil || h.UID != o.Execution {
		return nil, fmt.Errorf("releasing %s: %s does not hold it", rt.Spec.Target, o.Name)
	}
	next := rt.DeepCopy()
	next.Status = s.Rules.Release(rt.Status, o)
	return next, s.write(ctx, next, "releasing "+rt.Spec.Target)
}

// Write stores a status that was decided on rt.
func (s *Store) Write(ctx context.Context, rt *v1alpha1.RemediationTarget, st v1alpha1.RemediationTargetStatus) error {
	next := rt.DeepCopy()
	next.Status = st
	return s.write(ctx, next, "updating "+rt.Spec.Target)
}

func (s *Store) write(ctx context.Context, rt *v1alpha1.RemediationTarget, doing string) error {
	if err := s.Client.Status().Update(ctx, rt); err != nil {
		return asConflict(err, rt.Name, doing)
	}
	return nil
}

// asConflict: somebody was faster, and there is nothing to do but to look again.
func asConflict(err error, name, doing string) error {
	if apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		return apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("remediationtargets").GroupResource(), name, fmt.Errorf("%s: %w", doing, err))
	}
	return fmt.Errorf("%s: %w", doing, err)
}
