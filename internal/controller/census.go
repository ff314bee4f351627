package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// counts are how many executions of the cache are in which state.
type counts struct {
	live, pending int
	waiting       map[string]int
}

func (c *census) executions(ctx context.Context) (counts, bool) {
	var all v1alpha1.WorkflowExecutionList
	n := counts{waiting: map[string]int{}}
	if err := c.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return n, false
	}
	n.live = len(all.Items)
	for i := range all.Items {
		ex := &all.Items[i]
		if unrecorded(ex) {
			n.pending++
		}
		if w := ex.Status.Waiting; w != nil {
			n.waiting[known(w.Reason, waitReasons)]++
		}
	}
	return n, true
}

func (c *census) records(ctx context.Context) (held, blocked int, ok bool) {
	var all v1alpha1.RemediationTargetList
	if err := c.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return 0, 0, false
	}
	for i := range all.Items {
		st := &all.Items[i].Status
		if st.Holder != nil {
			held++
		}
		for j := range st.Workflows {
			if st.Workflows[j].Block != nil {
				blocked++
			}
		}
	}
	return held, blocked, true
}

func (c *census) outbox(ctx context.Context) (int, bool) {
	var all corev1.ConfigMapList
	err := c.Client.List(ctx, &all, client.UnsafeDisableDeepCopy, client.InNamespace(v1alpha1.SystemNamespace), client.HasLabels{v1alpha1.LabelOutbox})
	return len(all.Items), err == nil
}
