package audit

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/terminal"
)

func newRetention(s *source) *cobra.Command {
	return group("retention", "See what the policies of retention remove, and remove it",
		"The policies are in Data Storage's configuration (datastorage.config.retention in the chart), and\nData Storage applies them by itself. Both commands need the verb admin on\nauditevents.datastorage.kubernaut.ai (ClusterRole kubernaut-audit-admin).",
		newRetentionPlan(s), newRetentionRun(s))
}

func newRetentionPlan(s *source) *cobra.Command {
	var output cli.Format
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Say what would be removed now; nothing is changed",
		Args:  cli.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return planRetention(cmd.Context(), s, output) },
	}
	cli.OutputFlag(cmd.Flags(), &output, cli.JSON, cli.YAML)
	return cmd
}

func planRetention(ctx context.Context, s *source, output cli.Format) error {
	plan, err := with(ctx, s, "asking what retention would remove", func(c *datastorage.Client) (datastorage.RetentionPlan, error) {
		return c.PlanRetention(ctx)
	})
	if err != nil {
		return err
	}
	if len(plan.Policies) == 0 && output == cli.Table {
		s.IO.Say("There is no policy: every event is kept.")
	}
	return show(s, output, plan, func() *terminal.Table {
		table := &terminal.Table{Header: []string{"MONTH", "EVENTS", "GO", "HELD", "HOW"}}
		for _, m := range plan.Months {
			table.Add(terminal.Plain(m.Month, number(m.Events), number(m.Expired), number(m.Held), how(m.Whole, m.Expired))...)
		}
		return table
	})
}

func newRetentionRun(s *source) *cobra.Command {
	var output cli.Format
	var yes bool
	cmd := &cobra.Command{
		Use:   "run --yes",
		Short: "Remove now what the policies do not keep",
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !yes {
				return cli.Usagef("this removes events for good; see: kubernaut audit retention plan; then say --yes")
			}
			return runRetention(cmd.Context(), s, output)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "really remove it")
	cli.OutputFlag(cmd.Flags(), &output, cli.JSON, cli.YAML)
	return cmd
}

func runRetention(ctx context.Context, s *source, output cli.Format) error {
	report, err := with(ctx, s, "applying retention", func(c *datastorage.Client) (datastorage.RetentionReport, error) {
		return c.RunRetention(ctx)
	})
	if err != nil {
		return err
	}
	err = show(s, output, report, func() *terminal.Table {
		table := &terminal.Table{Header: []string{"MONTH", "REMOVED", "HOW", "LEFT"}}
		for _, r := range report.Removed {
			table.Add(terminal.Plain(r.Month, number(r.Events), how(r.Whole, r.Events), r.Left)...)
		}
		return table
	})
	if err == nil && output == cli.Table {
		_, err = fmt.Fprintf(s.IO.Out, "In the audit trail: kubernaut audit list --correlation-id retention-%s\n", report.RunID)
	}
	return err
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func how(whole bool, events int64) string {
	switch {
	case whole:
		return "month dropped"
	case events > 0:
		return "one by one"
	}
	return ""
}
