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

type listOptions struct {
	*cli.Factory
	all    bool
	status string
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
	cmd.Flags().StringVar(&o.status, "status", "", "only versions of this `status`: active, deprecated, disabled or archived")
	cli.OutputFlag(cmd.Flags(), &o.output, cli.JSON, cli.YAML, cli.Wide, cli.Name)
	return cmd
}

func list(ctx context.Context, o *listOptions, name string) error {
	q := datastorage.ListWorkflowsParams{WorkflowName: name, Status: datastorage.WorkflowStatus(o.status), Limit: 1000}
	if o.status != "" && !q.Status.Valid() {
		return cli.Usagef("--status is active, deprecated, disabled or archived, not %q", o.status)
	}
	q.Latest = name == "" && !o.all && o.status == ""
	c, err := o.Connect(ctx)
	if err != nil {
		return err
	}
	entries, err := entries(ctx, c, q)
	if err != nil {
		return cli.WhenInterrupted(ctx, err, "Reading changes nothing.")
	}
	switch {
	case o.output == cli.JSON, o.output == cli.YAML:
		return o.output.Encode(o.IO.Out, map[string]any{"workflows": entries})
	case len(entries) == 0 && name != "":
		return fmt.Errorf("the catalog has no such workflow %q; see: kubernaut workflow list --all", name)
	case len(entries) == 0 && (o.all || o.status != ""):
		o.IO.Say("The catalog has no such workflow.")
		return nil
	case len(entries) == 0:
		o.IO.Say("The catalog has no active workflow; see also: kubernaut workflow list --all. Register one with: kubernaut workflow push FOLDER")
		return nil
	case o.output == cli.Name:
		return printNames(o.Factory, entries)
	}
	return o.table(entries).Write(o.IO.Out)
}

// entries reads all pages of the catalog that match q.
func entries(ctx context.Context, c *connect.Cluster, q datastorage.ListWorkflowsParams) ([]datastorage.Workflow, error) {
	catalog, err := c.DataStorage(ctx)
	if err != nil {
		return nil, err
	}
	all := []datastorage.Workflow{}
	for w, err := range catalog.AllWorkflows(ctx, q) {
		if err != nil {
			return nil, fmt.Errorf("reading the catalog: %w", connect.ExplainDataStorage(err))
		}
		all = append(all, w)
	}
	return all, nil
}

func (o *listOptions) table(entries []datastorage.Workflow) *terminal.Table {
	table := &terminal.Table{Header: []string{"NAME", "VERSION", "STATUS", "RISK", "PARAMETERS", "TITLE"}}
	if o.output == cli.Wide {
		table.Header = append(table.Header, "IMAGE")
	}
	for _, w := range entries {
		cells := terminal.Plain(w.WorkflowName, w.Version, string(w.Status), w.Risk, parameters(w.Parameters), w.Name)
		if o.output == cli.Wide {
			cells = append(cells, terminal.Cell{Text: image(w)})
		}
		table.Add(cells...)
	}
	return table
}

// image is what runs of a workflow pull.
func image(w datastorage.Workflow) string {
	if w.ContainerDigest == "" || strings.Contains(w.ContainerImage, "@") {
		return w.ContainerImage
	}
	return w.ContainerImage + "@" + w.ContainerDigest
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
