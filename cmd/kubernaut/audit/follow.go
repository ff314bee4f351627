package audit

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/terminal"
	"kubernaut.ai/kubernaut/internal/trail"
)

type followOptions struct {
	*source
	filters
	after     string
	beginning bool
	once      bool
	output    cli.Format
}

func newFollow(s *source) *cobra.Command {
	o := &followOptions{source: s}
	cmd := &cobra.Command{
		Use:   "follow",
		Short: "Print audit events as they come",
		Long: `Follow prints each new event once, as soon as it is sure that none before it can still come. When the
connection breaks it goes on after the last event. With -o json each line is one event with its
cursor, after which another follow can go on: none is skipped and none comes twice.`,
		Example: `  kubernaut audit follow --outcome failure -n payment

  # give new events to another program, now and then
  kubernaut audit follow --after "$(cat cursor)" --once -o json`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return follow(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	o.add(flags)
	flags.StringVar(&o.after, "after", "", "go on after this `cursor`")
	flags.BoolVar(&o.beginning, "from-beginning", false, "begin with the first event of the trail, not with the next new one")
	flags.BoolVar(&o.once, "once", false, "end when all events that are there were printed")
	cli.OutputFlag(flags, &o.output, cli.JSON, cli.Wide)
	cmd.MarkFlagsMutuallyExclusive("after", "from-beginning")
	return cmd
}

func follow(ctx context.Context, o *followOptions) error {
	storage, cluster, err := o.open(ctx)
	if err != nil {
		return err
	}
	q, err := query[datastorage.FollowAuditEventsParams](ctx, &o.filters, o.source, cluster)
	if err != nil {
		return err
	}
	q.Cursor = o.after
	if o.beginning {
		q.From = datastorage.FollowAuditEventsParamsFromBeginning
	}
	if o.once {
		q.Wait = datastorage.FollowAuditEventsParamsWaitNever
	}
	for e, err := range storage.Follow(ctx, q) {
		if err != nil {
			return o.explain(ctx, "following the audit trail", err)
		}
		if err := o.print(e); err != nil {
			return err
		}
	}
	return cli.WhenInterrupted(ctx, ctx.Err(), "Following changes nothing.")
}

func (o *followOptions) print(e datastorage.FeedEvent) error {
	if o.output != cli.JSON {
		line := terminal.Table{Rows: [][]terminal.Cell{trail.Cells(e.StoredEvent, o.output == cli.Wide, o.IO.OutPaint)}}
		return line.Write(o.IO.Out)
	}
	raw, err := json.Marshal(e)
	if err == nil {
		_, err = fmt.Fprintf(o.IO.Out, "%s\n", raw)
	}
	if err != nil {
		return fmt.Errorf("writing event %s: %w", e.EventID, err)
	}
	return nil
}
