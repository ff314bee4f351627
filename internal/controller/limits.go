package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/execution"
)

// Slots count the executions that hold a target, so that not too many do at a time.
// What this process has taken counts before its cache shows it. A second controller
// that works at the same time, as an old leader may for a moment, counts for itself.
type Slots struct {
	Client       client.Reader // its reads may be stale
	All          int           // at a time; 0: no limit
	PerNamespace int           // at a time, of the executions of one namespace; 0: no limit
	Now          func() time.Time
	mu           sync.Mutex
	taken        map[types.UID]slot
}

// slot is what this process has taken and its cache may not show yet.
type slot struct {
	namespace string
	since     time.Time
}

// unseen is how long the cache may take to show what was taken.
const unseen = 30 * time.Second

func (s *Slots) limited() bool { return s != nil && (s.All > 0 || s.PerNamespace > 0) }

// Count is how many executions hold a target, in all and of one namespace.
func (s *Slots) Count(ctx context.Context, namespace string) (all, inNamespace int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count(ctx, namespace)
}

func (s *Slots) count(ctx context.Context, namespace string) (all, inNamespace int, err error) {
	var records v1alpha1.RemediationTargetList
	if err := s.Client.List(ctx, &records, client.UnsafeDisableDeepCopy); err != nil {
		return 0, 0, fmt.Errorf("counting the targets that are held: %w", err)
	}
	add := func(of string) {
		all++
		if of == namespace {
			inNamespace++
		}
	}
	for i := range records.Items {
		if h := records.Items[i].Status.Holder; h != nil {
			delete(s.taken, h.UID) // it is seen
			add(h.Namespace)
		}
	}
	for uid, t := range s.taken {
		if s.Now().Sub(t.since) > unseen {
			delete(s.taken, uid)
			continue
		}
		add(t.namespace)
	}
	return all, inNamespace, nil
}

// Take reserves a place for an execution that is about to take its target. It is a
// Conflict when there is none left since the execution was looked at.
func (s *Slots) Take(ctx context.Context, ex *v1alpha1.WorkflowExecution) error {
	if !s.limited() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all, inNamespace, err := s.count(ctx, ex.Namespace)
	if err != nil {
		return err
	}
	if s.All > 0 && all >= s.All || s.PerNamespace > 0 && inNamespace >= s.PerNamespace {
		return apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("workflowexecutions").GroupResource(), ex.Name, errors.New("others were faster, and no more may run at a time"))
	}
	if s.taken == nil {
		s.taken = map[types.UID]slot{}
	}
	s.taken[ex.UID] = slot{ex.Namespace, s.Now()}
	return nil
}

// GiveBack returns a place that was not used.
func (s *Slots) GiveBack(ex *v1alpha1.WorkflowExecution) {
	if !s.limited() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.taken, ex.UID)
}

// indexHeldBack finds the executions that wait for no target in particular, by why.
const indexHeldBack = "held-back"

func heldBack(obj client.Object) []string {
	ex, ok := obj.(*v1alpha1.WorkflowExecution)
	if !ok || ex.Status.Waiting == nil || execution.Ended(ex) {
		return nil
	}
	switch r := ex.Status.Waiting.Reason; r {
	case v1alpha1.ReasonPaused, v1alpha1.ReasonLimitReached:
		return []string{r}
	}
	return nil
}

// moveUp is how many executions are woken when one of those that may run at a time
// has ended: more than one, because the first may have another reason to wait.
const moveUp = 4

// whoIsHeldBack are the executions that wait for a reason, the oldest first.
func (r *Reconciler) whoIsHeldBack(ctx context.Context, reason string) []reconcile.Request {
	var waiting v1alpha1.WorkflowExecutionList
	if err := r.Client.List(ctx, &waiting, client.MatchingFields{indexHeldBack: reason}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Those who are held back cannot be listed; they look again by themselves", "reason", reason)
		return nil
	}
	slices.SortFunc(waiting.Items, func(a, b v1alpha1.WorkflowExecution) int {
		if longer(&a, &b) {
			return -1
		}
		return 1
	})
	var all []reconcile.Request
	for i := range waiting.Items {
		all = append(all, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&waiting.Items[i])})
	}
	return all
}
