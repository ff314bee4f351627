package audit

import (
	"context"

	"github.com/spf13/cobra"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/trail"
)

type listOptions struct {
	*source
	filters
	limit  int
	output cli.Format
}

func newList(s *source) *cobra.Command {
	o := &listOptions{source: s}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List audit events, in the order they happened",
		Long: `List reads audit events from Data Storage. The newest --limit events that match are listed, the
oldest of them first.`,
		Example: `  # everything about one execution
  kubernaut audit list --execution payment-api-memory-x7k2p -n payment

  # what was skipped since yesterday, as JSON
  kubernaut audit list --type workflowexecution.skipped --since 24h -o json

  # what ran into a memory limit on one target
  kubernaut audit list --error-code OOMKilled --data target=payment/deployment.apps/payment-api`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return list(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	o.add(flags)
	o.addTimes(flags)
	flags.IntVar(&o.limit, "limit", 100, "how many at most")
	cli.OutputFlag(flags, &o.output, cli.JSON, cli.YAML, cli.Wide)
	return cmd
}

func list(ctx context.Context, o *listOptions) error {
	if o.limit < 1 || o.limit > 100_000 {
		return cli.Usagef("--limit is between 1 and 100000")
	}
	storage, cluster, err := o.open(ctx)
	if err != nil {
		return err
	}
	q, err := query[datastorage.QueryAuditEventsParams](ctx, &o.filters, o.source, cluster)
	if err != nil {
		return err
	}
	q.Limit = min(o.limit, 1000)
	events, err := trail.Newest(ctx, storage, q, o.limit)
	if err != nil {
		return cli.WhenInterrupted(ctx, err, "Reading changes nothing.")
	}
	if o.output == cli.JSON || o.output == cli.YAML {
		return o.output.Encode(o.IO.Out, map[string]any{"events": events})
	}
	if len(events) == 0 {
		o.IO.Say("No audit events match.")
		return nil
	}
	return trail.Table(events, o.output == cli.Wide, o.IO.OutPaint).Write(o.IO.Out)
}
