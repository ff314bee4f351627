// Package workflow has the commands on workflows: push and list.
package workflow

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/terminal"
)

// New returns the command workflow.
func New(f *cli.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "workflow",
		Short: "Register workflows, and list those that are",
		Args:  cli.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPush(f), newList(f))
	return cmd
}

type listOptions struct {
	*cli.Factory
	all    bool
	output cli.Format
}

func newList(f *cli.Factory) *cobra.Command {
	o := &listOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "list [NAME]",
		Short: "List the workflows of the catalog",
		Long:  "List prints the latest version of each workflow, or all versions of one.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return list(cmd.Context(), o, strings.Join(args, ""))
		},
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "list all versions")
	cli.OutputFlag(cmd.Flags(), &o.output, cli.JSON, cli.YAML, cli.Wide, cli.Name)
	return cmd
}

func list(ctx context.Context, o *listOptions, name string) error {
	c, err := o.Connect(ctx)
	if err != nil {
		return err
	}
	entries, err := entries(ctx, c, datastorage.ListWorkflowsParams{WorkflowName: name, Latest: name == "" && !o.all, Limit: 1000})
	if err != nil {
		return cli.WhenInterrupted(ctx, err, "Reading changes nothing.")
	}
	switch {
	case o.output == cli.JSON, o.output == cli.YAML:
		return o.output.Encode(o.IO.Out, map[string]any{"workflows": entries})
	case len(entries) == 0 && name != "":
		return fmt.Errorf("the catalog has no workflow %q; see: kubernaut workflow list", name)
	case len(entries) == 0:
		o.IO.Say("The catalog is empty. Register a workflow with: kubernaut workflow push FOLDER")
		return nil
	case o.output == cli.Name:
		return names(o, entries)
	}
	return o.table(entries).Write(o.IO.Out)
}

func names(o *listOptions, entries []datastorage.Workflow) error {
	for _, w := range entries {
		if _, err := fmt.Fprintf(o.IO.Out, "%s@%s\n", w.WorkflowName, w.Version); err != nil {
			return err
		}
	}
	return nil
}

// entries reads all pages of the catalog that match q.
func entries(ctx context.Context, c *connect.Cluster, q datastorage.ListWorkflowsParams) ([]datastorage.Workflow, error) {
	catalog, err := c.DataStorage(ctx)
	if err != nil {
		return nil, err
	}
	all := []datastorage.Workflow{}
	for {
		page, err := catalog.Workflows(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("reading the catalog: %w", connect.ExplainDataStorage(err))
		}
		all = append(all, page.Workflows...)
		q.Offset += len(page.Workflows)
		if len(page.Workflows) < q.Limit {
			return all, nil
		}
	}
}

func (o *listOptions) table(entries []datastorage.Workflow) *terminal.Table {
	table := &terminal.Table{Header: []string{"NAME", "VERSION", "STATUS", "RISK", "PARAMETERS", "TITLE"}}
	if o.output == cli.Wide {
		table.Header = append(table.Header, "IMAGE")
	}
	for _, w := range entries {
		cells := terminal.Plain(w.WorkflowName, w.Version, string(w.Status), w.Risk, parameters(w.Parameters), w.Name)
		if o.output == cli.Wide {
			cells = append(cells, terminal.Cell{Text: w.ContainerImage + "@" + w.ContainerDigest})
		}
		table.Add(cells...)
	}
	return table
}

// parameters lists the names; required ones stand first, others in brackets.
func parameters(declared []datastorage.WorkflowParameter) string {
	var required, optional []string
	for _, p := range declared {
		if p.Required {
			required = append(required, p.Name)
		} else {
			optional = append(optional, "["+p.Name+"]")
		}
	}
	return strings.Join(append(required, optional...), " ")
}
