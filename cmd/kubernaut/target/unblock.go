package target

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
)

// NewUnblock returns the command that clears a block.
func NewUnblock(f *cli.Factory) *cobra.Command {
	var wish v1alpha1.ClearBlock
	cmd := &cobra.Command{
		Use:   "unblock TARGET --workflow WORKFLOW --reason WHY",
		Short: "Let a blocked workflow run on a target again",
		Long:  "Unblock clears the block of one workflow on one target: exactly its next run is let through.\nThe reason and who gave it stand in the audit trail. A block that came after you looked stays.",
		Args:  cli.ExactArgs("a TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case wish.Workflow == "":
				return cli.Usagef("which workflow? say --workflow ID; see: kubernaut targets")
			case wish.Reason == "":
				return cli.Usagef("why? the audit trail wants a reason: --reason WHY")
			}
			return unblock(cmd.Context(), f, wish, args[0])
		},
	}
	cmd.Flags().StringVar(&wish.Workflow, "workflow", "", "`id` of the blocked workflow (required)")
	cmd.Flags().StringVar(&wish.Reason, "reason", "", "why it may run again, for the audit trail (required)")
	return cmd
}

func unblock(ctx context.Context, f *cli.Factory, wish v1alpha1.ClearBlock, target string) error {
	c, err := f.Connect(ctx)
	if err != nil {
		return err
	}
	rt, block, err := blockOf(ctx, c, target, wish.Workflow)
	if err != nil {
		return err
	}
	if block == nil {
		_, err = fmt.Fprintf(f.IO.Out, "remediationtarget.kubernaut.ai/%s: %s is not blocked, nothing to do\n", rt.Name, wish.Workflow)
		return err
	}
	wish.BlockID = block.ID
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": rt.ResourceVersion},
		"spec":     map[string]any{"clearBlock": wish},
	})
	if err != nil {
		return err
	}
	err = c.Client.Patch(ctx, rt, client.RawPatch(types.MergePatchType, patch))
	switch {
	case apierrors.IsConflict(err):
		return fmt.Errorf("the record of %s changed while it was read; look again: kubernaut targets", target)
	case err != nil:
		return connect.Explain(fmt.Errorf("clearing the block on %s: %w", target, err))
	}
	_, err = fmt.Fprintf(f.IO.Out, "remediationtarget.kubernaut.ai/%s: the block of %s by %s is being cleared\n", rt.Name, wish.Workflow, block.Name)
	return err
}

// blockOf finds the record of the target, which may be written as in an execution or
// in its canonical form, and the block of workflow on it; nil when it is not blocked.
func blockOf(ctx context.Context, c *connect.Cluster, target, workflow string) (*v1alpha1.RemediationTarget, *v1alpha1.Block, error) {
	list, err := records(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	var known *v1alpha1.RemediationTarget
	for i := range list.Items {
		rt := &list.Items[i]
		if !sameTarget(rt.Spec.Target, target) {
			continue
		}
		known = rt
		for _, w := range rt.Status.Workflows {
			if w.WorkflowID == workflow && w.Block != nil {
				return rt, w.Block, nil
			}
		}
	}
	if known == nil {
		return nil, nil, fmt.Errorf("nothing is known of target %s; see: kubernaut targets", target)
	}
	return known, nil, nil
}

// sameTarget compares a canonical key with a target as somebody wrote it: the
// group of the kind may be left out, and the kind's case does not matter.
func sameTarget(key, written string) bool {
	have, want := strings.Split(key, "/"), strings.Split(written, "/")
	if len(have) != len(want) || len(have) < 2 {
		return false
	}
	kind := len(have) - 2
	for i := range have {
		if i != kind && have[i] != want[i] {
			return false
		}
	}
	name, _, _ := strings.Cut(have[kind], ".")
	written = strings.ToLower(want[kind])
	return written == have[kind] || written == name
}
