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

type searchOptions struct {
	*cli.Factory
	filters datastorage.WorkflowFilters
	custom  []string
	top     int
	least   float64
	output  cli.Format
}

func newSearch(f *cli.Factory) *cobra.Command {
	o := &searchOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "search --signal-type TYPE --severity SEVERITY --component COMPONENT --environment ENVIRONMENT --priority PRIORITY",
		Short: "Find the workflows for a signal, the best first",
		Long: `Search looks through the latest version of each active workflow. All five labels are needed and must
be equal; a workflow whose component is * fits every component. The score is 0.6 for that, 0.2 for an equal
component (0.1 for *), and 0.2 times the share of the values of --label that the workflow has: all 0.2
when there is no --label.`,
		Example: `  kubernaut workflow search --signal-type OOMKilled --severity critical --component deployment \
    --environment any --priority P1 --label team=payments`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return search(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	for _, l := range o.five() {
		flags.StringVar(l.value, l.flag, "", "the label `"+strings.ReplaceAll(l.flag, "-", "_")+"`; needed")
	}
	flags.StringArrayVar(&o.custom, "label", nil, "a custom label as `NAME=VALUE`; may be given again")
	flags.IntVar(&o.top, "top", 10, "how many at most, up to 100")
	flags.Float64Var(&o.least, "min-score", 0, "only those with at least this score")
	cli.OutputFlag(flags, &o.output, cli.JSON, cli.YAML, cli.Wide, cli.Name)
	return cmd
}

type label struct {
	flag  string
	value *string
}

// five are the labels that a search must name.
func (o *searchOptions) five() []label {
	f := &o.filters
	return []label{
		{"signal-type", &f.SignalType}, {"severity", &f.Severity}, {"component", &f.Component},
		{"environment", &f.Environment}, {"priority", &f.Priority},
	}
}

func (o *searchOptions) check() error {
	var missing []string
	for _, l := range o.five() {
		if *l.value == "" {
			missing = append(missing, "--"+l.flag)
		}
	}
	if len(missing) > 0 {
		return cli.Usagef("a search names all five labels; missing: %s", strings.Join(missing, ", "))
	}
	for _, pair := range o.custom {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" || value == "" {
			return cli.Usagef("--label is NAME=VALUE, not %q", pair)
		}
		if o.filters.CustomLabels == nil {
			o.filters.CustomLabels = datastorage.CustomLabels{}
		}
		o.filters.CustomLabels[name] = append(o.filters.CustomLabels[name], value)
	}
	if o.top < 1 || o.top > 100 {
		return cli.Usagef("--top is between 1 and 100")
	}
	if o.least < 0 || o.least > 1 {
		return cli.Usagef("--min-score is between 0 and 1")
	}
	return nil
}

func search(ctx context.Context, o *searchOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := o.Connect(ctx)
	if err != nil {
		return err
	}
	catalog, err := c.DataStorage(ctx)
	if err != nil {
		return err
	}
	found, err := catalog.SearchWorkflows(ctx, datastorage.WorkflowSearch{Filters: o.filters, TopK: &o.top, MinScore: o.least})
	if err != nil {
		return cli.WhenInterrupted(ctx, connect.ExplainDataStorage(err), "Reading changes nothing.")
	}
	switch {
	case o.output == cli.JSON, o.output == cli.YAML:
		return o.output.Encode(o.IO.Out, map[string]any{"workflows": found})
	case len(found) == 0:
		o.IO.Say("No workflow fits. What there is: kubernaut workflow list")
		return nil
	}
	return o.print(found)
}

func (o *searchOptions) print(found []datastorage.WorkflowMatch) error {
	table := &terminal.Table{Header: []string{"SCORE", "NAME", "VERSION", "RISK", "PARAMETERS", "TITLE"}}
	if o.output == cli.Wide {
		table.Header = append(table.Header, "LABELS+COMPONENT+CUSTOM")
	}
	var entries []datastorage.Workflow
	for _, m := range found {
		w, parts := m.Workflow, m.ScoreParts
		entries = append(entries, w)
		cells := terminal.Plain(fmt.Sprintf("%.2f", m.Score), w.WorkflowName, w.Version, w.Risk, parameters(w.Parameters), w.Name)
		if o.output == cli.Wide {
			cells = append(cells, terminal.Cell{Text: fmt.Sprintf("%.2f+%.2f+%.2f", parts.Labels, parts.Component, parts.CustomLabels)})
		}
		table.Add(cells...)
	}
	if o.output == cli.Name {
		return printNames(o.Factory, entries)
	}
	return table.Write(o.IO.Out)
}
