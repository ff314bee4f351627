package execution

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/follow"
)

type cancelOptions struct {
	*cli.Factory
	reason    string
	immediate bool
	wait      bool
	timeout   time.Duration
}

// NewCancel returns the command that asks to stop an execution.
func NewCancel(f *cli.Factory) *cobra.Command {
	o := &cancelOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "cancel NAME --reason WHY",
		Short: "Stop an execution",
		Long:  "Cancel asks to stop an execution. The tasks that are running are stopped; the pipeline's finally\ntasks still run, unless --immediate is given. The target stays held until the run has stopped.",
		Args:  cli.ExactArgs("the NAME of an execution"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return cancel(cmd.Context(), o, args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.reason, "reason", "", "why, for the audit trail (required)")
	flags.BoolVar(&o.immediate, "immediate", false, "do not run the finally tasks either")
	flags.BoolVar(&o.wait, "wait", false, "wait until it has stopped")
	flags.DurationVar(&o.timeout, "timeout", 0, "with --wait: how long at most (default: no limit)")
	return cmd
}

func cancel(ctx context.Context, o *cancelOptions, name string) error {
	if o.reason == "" {
		return cli.Usagef("why? the audit trail wants a reason: --reason WHY")
	}
	c, err := o.Connect(ctx)
	if err != nil {
		return err
	}
	ex, err := read(ctx, c, name)
	if err != nil {
		return err
	}
	if follow.Ended(ex) {
		return fmt.Errorf("execution %s has ended already: %s; there is nothing to cancel", name, ex.Status.Phase)
	}
	if err := o.ask(ctx, c, ex); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(o.IO.Out, "workflowexecution.kubernaut.ai/%s cancelling\n", name); err != nil || !o.wait {
		return err
	}
	ended, err := wait(ctx, waiting{Factory: o.Factory, cluster: c, timeout: o.timeout}, ex)
	if err != nil {
		return err
	}
	if ended.Status.Phase == v1alpha1.PhaseCancelled {
		return nil // that is what was asked for
	}
	o.IO.Say("It ended before it could be cancelled.")
	return codeOf(ended)
}

// ask writes the wish to stop; it touches no other field.
func (o *cancelOptions) ask(ctx context.Context, c *connect.Cluster, ex *v1alpha1.WorkflowExecution) error {
	mode := v1alpha1.CancelGraceful
	if o.immediate {
		mode = v1alpha1.CancelImmediate
	}
	if asked := ex.Spec.Cancel; asked != nil && asked.Mode == mode {
		o.IO.Say("It was asked to stop already: %s", asked.Reason)
		return nil
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"cancel": map[string]any{"mode": mode, "reason": o.reason}}})
	if err != nil {
		return err
	}
	err = c.Client.Patch(ctx, ex, client.RawPatch(types.MergePatchType, patch))
	switch {
	case err != nil && isInvalid(err):
		return fmt.Errorf("the cluster refuses to cancel %s: %s", ex.Name, causes(err))
	case err != nil:
		return connect.Explain(fmt.Errorf("cancelling execution %s/%s: %w", ex.Namespace, ex.Name, err))
	}
	return nil
}
