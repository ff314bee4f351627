package audit

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/terminal"
)

func newHold(s *source) *cobra.Command {
	return group("hold", "Keep all events of a case, whatever retention says",
		"A legal hold keeps every event with a correlation id, also those that come later, until it is\nreleased. Who placed and released it stands in the audit trail. It needs the verb hold on\nauditevents.datastorage.kubernaut.ai (ClusterRole kubernaut-audit-admin).",
		newHoldPlace(s), newHoldList(s), newHoldRelease(s))
}

func newHoldPlace(s *source) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:     "place CORRELATION-ID --reason WHY",
		Short:   "Hold the events of a case",
		Example: `  kubernaut audit hold place rr-payment-api-7f3a --reason "incident 4711 is at court"`,
		Args:    cli.ExactArgs("a CORRELATION-ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := wanted("reason", reason, "why? the audit trail wants a reason"); err != nil {
				return err
			}
			hold, err := with(cmd.Context(), s, "placing the hold", func(c *datastorage.Client) (datastorage.Hold, error) {
				return c.PlaceHold(cmd.Context(), datastorage.HoldRequest{CorrelationID: args[0], Reason: reason})
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.IO.Out, "hold %s of %s placed\n", hold.HoldID, hold.CorrelationID)
			return err
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why the events are held, for the audit trail (required)")
	return cmd
}

func newHoldList(s *source) *cobra.Command {
	var params datastorage.ListHoldsParams
	var output cli.Format
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the holds that stand",
		Args:  cli.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return listHolds(cmd.Context(), s, params, output) },
	}
	cmd.Flags().StringVar(&params.CorrelationID, "correlation-id", "", "only holds of the case with this `id`")
	cmd.Flags().BoolVar(&params.Released, "released", false, "also those that were released")
	cli.OutputFlag(cmd.Flags(), &output, cli.JSON, cli.YAML)
	return cmd
}

func listHolds(ctx context.Context, s *source, p datastorage.ListHoldsParams, output cli.Format) error {
	holds, err := with(ctx, s, "listing the holds", func(c *datastorage.Client) ([]datastorage.Hold, error) { return c.Holds(ctx, p) })
	if err != nil {
		return err
	}
	return show(s, output, map[string]any{"holds": holds}, func() *terminal.Table {
		table := &terminal.Table{Header: []string{"HOLD", "CORRELATION", "PLACED", "BY", "REASON", "RELEASED"}}
		for _, h := range holds {
			table.Add(terminal.Plain(h.HoldID.String(), h.CorrelationID, day(h.PlacedAt), h.PlacedBy, h.Reason, day(h.ReleasedAt))...)
		}
		return table
	})
}

func newHoldRelease(s *source) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "release HOLD --reason WHY",
		Short: "Release one hold",
		Long:  "Release lets retention remove the events of a case again, unless another hold of it stands.",
		Args:  cli.ExactArgs("a HOLD"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := uuid.Parse(args[0])
			if err != nil {
				return cli.Usagef("%q is not the id of a hold; see: kubernaut audit hold list", args[0])
			}
			if err := wanted("reason", reason, "why? the audit trail wants a reason"); err != nil {
				return err
			}
			hold, err := with(cmd.Context(), s, "releasing the hold", func(c *datastorage.Client) (datastorage.Hold, error) {
				return c.ReleaseHold(cmd.Context(), id, reason)
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.IO.Out, "hold %s of %s released\n", hold.HoldID, hold.CorrelationID)
			return err
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why the hold ends, for the audit trail (required)")
	return cmd
}
