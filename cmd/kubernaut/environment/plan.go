package environment

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/environment"
)

func newPlan(f *cli.Factory, name *string) *cobra.Command {
	o := environment.Options{}
	var output string
	cmd := &cobra.Command{
		Use:     "plan [NAME...]",
		Short:   "Print what up would do, and in what order",
		Long:    "Plan prints the steps of the environment, or of the named parts of it, and what waits for what. It changes nothing.",
		Example: "  kubernaut env plan\n  kubernaut env plan datastorage\n  kubernaut env plan -o svg > plan.svg",
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name, o.Only = *name, append(o.Only, args...)
			return printPlan(cmd.Context(), f, o, output)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&output, "output", "o", "tree", "`format`: tree, dot, svg, json or yaml")
	placeFlags(flags, &o.Place)
	flags.StringSliceVar(&o.Only, "only", nil, "only these `names` and what they need; the same as arguments")
	return cmd
}

func printPlan(ctx context.Context, f *cli.Factory, o environment.Options, output string) error {
	p, err := environment.Plan(ctx, o)
	if err != nil {
		return err
	}
	switch output {
	case "tree", "text":
		_, err = fmt.Fprint(f.IO.Out, p.Text())
	case "dot":
		_, err = fmt.Fprint(f.IO.Out, p.DOT())
	case "svg":
		_, err = fmt.Fprint(f.IO.Out, environment.Picture(p))
	case "json":
		err = cli.JSON.Encode(f.IO.Out, p)
	case "yaml":
		err = cli.YAML.Encode(f.IO.Out, p)
	default:
		err = cli.Usagef("-o %s: it is one of tree, dot, svg, json, yaml", output)
	}
	return err
}

func newReport(f *cli.Factory, name *string) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Print what the last up did and how long it took",
		Long: "Report prints the chart and the critical path of the last up, also of one that failed: as text, as one\n" +
			"page that needs nothing else (html), for CI systems (junit), or whole (json, yaml).",
		Example: "  kubernaut env report\n  kubernaut env report -o html > report.html\n  kubernaut env report -o junit > junit.xml",
		Args:    cli.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return printReport(f, *name, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "`format`: text, html, junit, json or yaml")
	return cmd
}

func printReport(f *cli.Factory, name, output string) error {
	told, err := environment.LastReport(name)
	if err != nil {
		return err
	}
	switch output {
	case "text":
		_, err = fmt.Fprint(f.IO.Out, told.Text(Width()))
	case "html":
		err = told.HTML(f.IO.Out)
	case "junit":
		var raw []byte
		if raw, err = told.JUnit(); err == nil {
			_, err = f.IO.Out.Write(raw)
		}
	case "json":
		err = cli.JSON.Encode(f.IO.Out, told)
	case "yaml":
		err = cli.YAML.Encode(f.IO.Out, told)
	default:
		err = cli.Usagef("-o %s: it is one of text, html, junit, json, yaml", output)
	}
	return err
}
