package audit

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/terminal"
)

func newParked(s *source) *cobra.Command {
	return group("parked", "Look after events that wait in Redis, or that PostgreSQL will never take",
		"Events that came while PostgreSQL was away move there by themselves. Those that it will never take\nare moved aside, and stay until somebody retries or purges them. All of it needs the verb admin on\nauditevents.datastorage.kubernaut.ai (ClusterRole kubernaut-audit-admin).",
		newParkedList(s), newParkedRetry(s), newParkedPurge(s))
}

func newParkedList(s *source) *cobra.Command {
	params := datastorage.ListParkedEventsParams{Limit: 100}
	var poisoned bool
	var output cli.Format
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List parked events, the oldest first",
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			params.Queue = queue(poisoned)
			return listParked(cmd.Context(), s, params, output)
		},
	}
	cmd.Flags().BoolVar(&poisoned, "poisoned", false, "those that were moved aside")
	cmd.Flags().StringVar(&params.After, "after", "", "only entries behind this `place`")
	cmd.Flags().IntVar(&params.Limit, "limit", 100, "how many at most")
	cli.OutputFlag(cmd.Flags(), &output, cli.JSON, cli.YAML)
	return cmd
}

func queue(poisoned bool) datastorage.ParkedQueue {
	if poisoned {
		return datastorage.ParkedQueuePoisoned
	}
	return datastorage.ParkedQueueWaiting
}

func listParked(ctx context.Context, s *source, p datastorage.ListParkedEventsParams, output cli.Format) error {
	if p.Limit < 1 || p.Limit > 1000 {
		return cli.Usagef("--limit is between 1 and 1000")
	}
	page, err := with(ctx, s, "listing parked events", func(c *datastorage.Client) (datastorage.ParkedPage, error) { return c.Parked(ctx, p) })
	if err != nil {
		return err
	}
	s.IO.Say("%d wait, %d were moved aside.", page.Waiting, page.Poisoned)
	return show(s, output, page, func() *terminal.Table {
		table := &terminal.Table{Header: []string{"PLACE", "EVENT ID", "RECEIVED", "ACTOR", "REASON"}}
		for _, e := range page.Data {
			table.Add(terminal.Plain(e.Place, e.EventID, e.ReceivedAt, e.ActorID, e.Reason)...)
		}
		return table
	})
}

func newParkedRetry(s *source) *cobra.Command {
	return &cobra.Command{
		Use:   "retry PLACE...",
		Short: "Try poisoned events again",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, places []string) error {
			n, err := with(cmd.Context(), s, "retrying parked events", func(c *datastorage.Client) (int, error) {
				return c.RetryParked(cmd.Context(), places)
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.IO.Out, "%d of %d events wait again\n", n, len(places))
			return err
		},
	}
}

func newParkedPurge(s *source) *cobra.Command {
	var reason string
	var waiting bool
	cmd := &cobra.Command{
		Use:   "purge PLACE... --reason WHY",
		Short: "Remove parked events for good",
		Long:  "Purge removes events that were acknowledged and never reached PostgreSQL. The audit trail keeps who\ndid it and why, and up to 64 KiB of each event.",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, places []string) error {
			if err := wanted("reason", reason, "why? the audit trail wants a reason"); err != nil {
				return err
			}
			n, err := with(cmd.Context(), s, "purging parked events", func(c *datastorage.Client) (int, error) {
				return c.PurgeParked(cmd.Context(), datastorage.ParkedPurge{Queue: queue(!waiting), Places: places, Reason: reason})
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.IO.Out, "%d of %d events purged\n", n, len(places))
			return err
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why they are removed, for the audit trail (required)")
	cmd.Flags().BoolVar(&waiting, "waiting", false, "they still wait, instead of being moved aside")
	return cmd
}
