package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/connect"
)

// clearBlock clears the block that an earlier demonstration has left on the
// target, so that the workflow runs again.
func (s *stage) clearBlock(ctx context.Context, workflow string) error {
	list := &v1alpha1.RemediationTargetList{}
	where := []client.ListOption{client.InNamespace(v1alpha1.SystemNamespace)}
	if err := s.cluster.Client.List(ctx, list, where...); err != nil {
		return connect.Explain(fmt.Errorf("reading the records of targets: %w", err))
	}
	rt, block := blockOf(list, workflow)
	if block == nil {
		return nil
	}
	s.say("%s failed here in an earlier demonstration and is blocked since; it is unblocked, because the demonstration runs again", workflow)
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"clearBlock": v1alpha1.ClearBlock{
		Workflow: workflow, BlockID: block.ID, Reason: "the demonstration runs again",
	}}})
	if err != nil {
		return err
	}
	if err := s.cluster.Client.Patch(ctx, rt, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return connect.Explain(fmt.Errorf("clearing the block of %s: %w", workflow, err))
	}
	return s.until(ctx, expected{
		what: "waiting until the block is cleared", list: list, where: where, within: 30 * time.Second,
		holds: func() (bool, string) {
			_, still := blockOf(list, workflow)
			return still == nil, "it still stands"
		},
	})
}

func blockOf(list *v1alpha1.RemediationTargetList, workflow string) (*v1alpha1.RemediationTarget, *v1alpha1.Block) {
	for i := range list.Items {
		if list.Items[i].Spec.Target != key {
			continue
		}
		for _, w := range list.Items[i].Status.Workflows {
			if w.WorkflowID == workflow && w.Block != nil {
				return &list.Items[i], w.Block
			}
		}
	}
	return nil, nil
}
