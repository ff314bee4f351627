// Package audit has the commands that read the audit trail.
package audit

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/trail"
)

// New returns the command audit.
func New(f *cli.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Read the audit trail",
		Args:  cli.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newList(f))
	return cmd
}

type listOptions struct {
	*cli.Factory
	correlation  string
	kind         string
	execution    string
	since, until string
	limit        int
	output       cli.Format
}

func newList(f *cli.Factory) *cobra.Command {
	o := &listOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List audit events, in the order they happened",
		Long:  "List reads audit events from Data Storage. The newest --limit events that match are listed, the\noldest of them first.",
		Example: `  # everything about one execution
  kubernaut audit list --execution payment-api-memory-x7k2p -n payment

  # what was skipped since yesterday, as JSON
  kubernaut audit list --type workflowexecution.skipped --since 24h -o json`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return list(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.correlation, "correlation-id", "", "only events of the case with this `id`")
	flags.StringVar(&o.kind, "type", "", "only events of this `type`")
	flags.StringVar(&o.execution, "execution", "", "only events of the execution with this `name` in the namespace")
	flags.StringVar(&o.since, "since", "", "only events from this `time` on: RFC 3339, a date, or how long ago (24h, 7d)")
	flags.StringVar(&o.until, "until", "", "only events before this `time`")
	flags.IntVar(&o.limit, "limit", 100, "how many at most")
	cli.OutputFlag(flags, &o.output, cli.JSON, cli.YAML, cli.Wide)
	return cmd
}

func list(ctx context.Context, o *listOptions) error {
	if o.limit < 1 || o.limit > 100_000 {
		return cli.Usagef("--limit is between 1 and 100000")
	}
	c, err := o.Connect(ctx)
	if err != nil {
		return err
	}
	query, err := o.query(ctx, c)
	if err != nil {
		return err
	}
	events, err := trail.Read(ctx, c, query, o.limit)
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

// query turns the flags into one of Data Storage.
func (o *listOptions) query(ctx context.Context, c *connect.Cluster) (datastorage.QueryAuditEventsParams, error) {
	q := datastorage.QueryAuditEventsParams{
		CorrelationID: o.correlation, EventType: o.kind,
		Since: o.since, Until: o.until, Limit: min(o.limit, 1000),
	}
	if o.execution == "" {
		return q, nil
	}
	q.ResourceName, q.Namespace = o.execution, c.Namespace
	var ex v1alpha1.WorkflowExecution
	err := c.Client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: o.execution}, &ex)
	switch {
	case err == nil && q.CorrelationID == "":
		q.CorrelationID = ex.CorrelationID() // the shortest way to its events
	case client.IgnoreNotFound(err) != nil && !apierrors.IsForbidden(err):
		return q, connect.Explain(fmt.Errorf("reading execution %s/%s: %w", c.Namespace, o.execution, err))
	}
	return q, nil
}
