package workflow

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/terminal"
	"kubernaut.ai/kubernaut/internal/workflow"
)

type getOptions struct {
	*cli.Factory
	descriptor bool
	output     cli.Format
}

func newGet(f *cli.Factory) *cobra.Command {
	o := &getOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "get NAME[@VERSION]",
		Short: "Show one version of a workflow: what it does, what it takes, what it may use",
		Long:  "Get shows the version named, else the latest.",
		Example: `  kubernaut workflow get increase-memory

  # the workflow.yaml it was registered with
  kubernaut workflow get increase-memory@1.0.0 --descriptor`,
		Args: cli.ExactArgs("the NAME of a workflow"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return get(cmd.Context(), o, args[0])
		},
	}
	cmd.Flags().BoolVar(&o.descriptor, "descriptor", false, "print the workflow.yaml it was registered with")
	cli.OutputFlag(cmd.Flags(), &o.output, cli.JSON, cli.YAML, cli.Name)
	return cmd
}

func get(ctx context.Context, o *getOptions, what string) error {
	c, err := o.Connect(ctx)
	if err != nil {
		return err
	}
	name, version := reference(what)
	w, err := workflow.Find(ctx, c, name, version)
	if err != nil {
		return cli.WhenInterrupted(ctx, err, "Reading changes nothing.")
	}
	switch {
	case o.descriptor:
		_, err = io.WriteString(o.IO.Out, w.Content)
		return err
	case o.output == cli.Name:
		return printNames(o.Factory, []datastorage.Workflow{w})
	case o.output != cli.Table:
		return o.output.Encode(o.IO.Out, w)
	}
	return describe(o.IO.Out, w)
}

// describe tells people all there is to know about a version.
func describe(out io.Writer, w datastorage.Workflow) error {
	state := string(w.Status)
	if w.IsLatestVersion {
		state += ", the latest version"
	}
	if w.StatusReason != "" {
		state += ": " + w.StatusReason
	}
	table := &terminal.Table{}
	for _, line := range [][2]string{
		{"Workflow:", id(w)},
		{"Title:", w.Name},
		{"Description:", w.Description},
		{"Status:", state},
		{"Changed:", changed(w)},
		{"Registered:", by(w.CreatedAt, w.CreatedBy)},
		{"Owner:", w.Owner},
		{"Risk:", w.Risk},
		{"Labels:", labels(w)},
		{"Engine:", w.ExecutionEngine},
		{"Image:", image(w)},
		{"Account:", w.ServiceAccountName},
		{"Secrets:", strings.Join(w.Secrets, ", ")},
		{"ConfigMaps:", strings.Join(w.ConfigMaps, ", ")},
	} {
		if line[1] != "" {
			table.Add(terminal.Plain(line[0], line[1])...)
		}
	}
	if err := table.Write(out); err != nil || len(w.Parameters) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	return parameterTable(w.Parameters).Write(out)
}

func by(when time.Time, who string) string {
	text := when.UTC().Format(time.RFC3339)
	if who != "" {
		text += " by " + who
	}
	return text
}

// changed is empty while the version is as it was registered.
func changed(w datastorage.Workflow) string {
	if w.UpdatedAt.Equal(w.CreatedAt) {
		return ""
	}
	return by(w.UpdatedAt, w.UpdatedBy)
}

func labels(w datastorage.Workflow) string {
	l := w.Labels
	all := []string{
		"signal_type=" + l.SignalType, "severity=" + l.Severity, "component=" + l.Component,
		"environment=" + l.Environment, "priority=" + l.Priority,
	}
	var custom []string
	for name, values := range w.CustomLabels {
		custom = append(custom, name+"="+strings.Join(values, "|"))
	}
	slices.Sort(custom)
	return strings.Join(append(all, custom...), " ")
}

func parameterTable(declared []datastorage.WorkflowParameter) *terminal.Table {
	table := &terminal.Table{Header: []string{"PARAMETER", "TYPE", "NEEDED", "DEFAULT", "TAKES", "DESCRIPTION"}}
	for _, p := range declared {
		needed, preset := "no", ""
		if p.Required {
			needed = "yes"
		}
		if p.Default != nil {
			preset = fmt.Sprintf("%q", *p.Default)
		}
		kind := string(p.Type)
		if p.Secret {
			kind += ", secret"
		}
		table.Add(terminal.Plain(p.Name, kind, needed, preset, takes(p), p.Description)...)
	}
	return table
}

// takes says which values a parameter takes, beside its type.
func takes(p datastorage.WorkflowParameter) string {
	var rules []string
	if len(p.Enum) > 0 {
		rules = append(rules, strings.Join(p.Enum, "|"))
	}
	if p.Pattern != "" {
		rules = append(rules, p.Pattern)
	}
	if p.Minimum != nil {
		rules = append(rules, fmt.Sprintf(">= %v", *p.Minimum))
	}
	if p.Maximum != nil {
		rules = append(rules, fmt.Sprintf("<= %v", *p.Maximum))
	}
	return strings.Join(rules, ", ")
}
