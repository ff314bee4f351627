package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/execution"
	"kubernaut.ai/kubernaut/internal/target"
)

// indexComesTo finds the executions that nobody has looked at yet, and that will queue
// for a target, by the place of the target.
const indexComesTo = "comes-to"

func comesTo(obj client.Object) []string {
	ex, ok := obj.(*v1alpha1.WorkflowExecution)
	if !ok || ex.Status.Target != nil || !queues(ex) {
		return nil
	}
	return []string{placeOf(ex.Spec.TargetResource)}
}

// placeOf is a target, or the key of one, without its kind: that can be written in
// several ways, and only the cluster knows which are the same.
func placeOf(resource string) string {
	parts := strings.Split(resource, "/")
	return parts[0] + "/" + parts[len(parts)-1]
}

// observeQueue finds who has waited longer for the same target.
func (r *Reconciler) observeQueue(ctx context.Context, s *execution.Snapshot) error {
	if s.Target.Key == "" || execution.Ended(s.Execution) {
		return nil
	}
	var queue, coming v1alpha1.WorkflowExecutionList
	if err := r.Client.List(ctx, &queue, client.MatchingFields{indexWaitsFor: s.Target.Key}); err != nil {
		return fmt.Errorf("listing who waits for %s: %w", s.Target.Key, err)
	}
	if err := r.Client.List(ctx, &coming, client.MatchingFields{indexComesTo: placeOf(s.Target.Key)}); err != nil {
		return fmt.Errorf("listing who will wait for %s: %w", s.Target.Key, err)
	}
	ahead := append(queue.Items, slices.DeleteFunc(coming.Items, func(other v1alpha1.WorkflowExecution) bool {
		key, err := target.Canonical(r.Kinds, other.Spec.TargetResource)
		return err != nil || key != s.Target.Key
	})...)
	ahead = slices.DeleteFunc(ahead, func(other v1alpha1.WorkflowExecution) bool {
		return other.UID == s.Execution.UID || !longer(&other, s.Execution)
	})
	slices.SortFunc(ahead, func(a, b v1alpha1.WorkflowExecution) int {
		if longer(&a, &b) {
			return -1
		}
		return 1
	})
	for i := range ahead {
		s.Target.Ahead = append(s.Target.Ahead, execution.Waiter{
			Name: ahead[i].Namespace + "/" + ahead[i].Name, WorkflowID: ahead[i].Spec.WorkflowRef.WorkflowID, Silent: ahead[i].Status.Target == nil,
		})
	}
	return nil
}

// longer says whether a has waited longer than b.
func longer(a, b *v1alpha1.WorkflowExecution) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return strings.Compare(string(a.UID), string(b.UID)) < 0
}
