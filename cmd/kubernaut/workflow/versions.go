package workflow

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/terminal"
	"kubernaut.ai/kubernaut/internal/workflow"
)

type versionsOptions struct {
	*cli.Factory
	output cli.Format
}

func newVersions(f *cli.Factory) *cobra.Command {
	o := &versionsOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "versions NAME",
		Short: "List all versions of a workflow, the highest first",
		Long: `Versions lists all versions of a workflow by semantic version. The latest is the highest one that
is active and no pre-release: it runs where nobody names a version, and search finds it.`,
		Args: cli.ExactArgs("the NAME of a workflow"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return versions(cmd.Context(), o, args[0])
		},
	}
	cli.OutputFlag(cmd.Flags(), &o.output, cli.JSON, cli.YAML, cli.Wide, cli.Name)
	return cmd
}

func versions(ctx context.Context, o *versionsOptions, name string) error {
	c, err := o.Connect(ctx)
	if err != nil {
		return err
	}
	found, err := workflow.Versions(ctx, c, name)
	if err != nil {
		return cli.WhenInterrupted(ctx, err, "Reading changes nothing.")
	}
	switch o.output {
	case cli.JSON, cli.YAML:
		return o.output.Encode(o.IO.Out, map[string]any{"workflow_name": name, "versions": found})
	case cli.Name:
		return printNames(o.Factory, found)
	}
	table := &terminal.Table{Header: []string{"VERSION", "LATEST", "STATUS", "REGISTERED", "BY", "REASON"}}
	if o.output == cli.Wide {
		table.Header = append(table.Header, "IMAGE")
	}
	for _, w := range found {
		latest := ""
		if w.IsLatestVersion {
			latest = "latest"
		}
		cells := terminal.Plain(w.Version, latest, string(w.Status), w.CreatedAt.UTC().Format(time.RFC3339), w.CreatedBy, w.StatusReason)
		if o.output == cli.Wide {
			cells = append(cells, terminal.Cell{Text: image(w)})
		}
		table.Add(cells...)
	}
	return table.Write(o.IO.Out)
}
