// Package environment has the commands on the environment Kubernaut runs in.
package environment

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/environment"
	"kubernaut.ai/kubernaut/internal/environment/progress"
	"kubernaut.ai/kubernaut/internal/terminal"
)

const help = `An environment is everything Kubernaut runs with: a real one-node Kubernetes in its own Linux
namespaces, Tekton, a registry, PostgreSQL, Redis, Data Storage and the controller. It needs root and
the Debian packages of packages.txt, and no container engine. Your own kubeconfig is never touched.`

// New returns the command env.
func New(f *cli.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Bring up, look at and remove the environment",
		Long:  help,
		Args:  cli.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	name := cmd.PersistentFlags().String("name", environment.DefaultName, "`name` of the environment; several can live side by side")
	cmd.AddCommand(newUp(f, name), newDown(f, name), newStatus(f, name), newKubeconfig(f, name), newPlan(f, name), newCheck(f), newBuild(f, name))
	return cmd
}

func newUp(f *cli.Factory, name *string) *cobra.Command {
	o := environment.Options{}
	var show string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Bring the environment up, or finish what is missing",
		Long:  "Up builds what is not in the cache, starts everything in parallel, and ends when all of it is ready.\nIt may be interrupted and called again at any time: it goes on where it was.",
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Name = *name
			return up(cmd.Context(), f, o, show)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Port, "port", 0, "loopback `port` of the API server (default: a free one)")
	flags.StringSliceVar(&o.Only, "only", nil, "only these `steps` of the plan and what they need")
	flags.IntVar(&o.Cores, "cores", 0, "how many steps that keep a core busy may run at once (default: all cores)")
	progressFlag(cmd, &show)
	return cmd
}

func progressFlag(cmd *cobra.Command, show *string) {
	cmd.Flags().StringVar(show, "progress", "auto", "how progress is shown: tty, plain, json, or auto")
}

func up(ctx context.Context, f *cli.Factory, o environment.Options, show string) error {
	begin, err := Display(f.IO, show)
	if err != nil {
		return err
	}
	display := begin()
	told, err := environment.Up(ctx, o, display)
	display.Close()
	if err != nil {
		return cli.WhenInterrupted(ctx, err, "What is built and started stays. Go on: kubernaut env up; remove it: kubernaut env down")
	}
	if show != "json" {
		f.IO.Say("\n%s", told.Text(Width()))
	}
	f.IO.Say("Environment %q is up. Look at it: kubernaut env status; use kubectl: kubernaut env kubeconfig > FILE", o.Name)
	return nil
}

// Display chooses how progress is shown on the streams' talk, and returns what
// begins to show it.
func Display(io terminal.Streams, show string) (func() progress.Display, error) {
	if show == "auto" {
		show = "plain"
		if term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb" {
			show = "tty"
		}
	}
	switch show {
	case "tty":
		return func() progress.Display { return progress.Terminal(io.Err, size) }, nil
	case "plain":
		return func() progress.Display { return progress.Plain(io.Err) }, nil
	case "json":
		return func() progress.Display { return undrawn{progress.JSON(io.Out)} }, nil
	}
	return nil, cli.Usagef("--progress %s: it is one of auto, tty, plain, json", show)
}

// undrawn is a sink that has nothing to end.
type undrawn struct{ progress.Sink }

// Close does nothing.
func (undrawn) Close() {}

func size() progress.Size {
	width, height, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil {
		return progress.Size{Width: 100, Height: 40}
	}
	return progress.Size{Width: width, Height: height}
}

// Width is the width of the terminal, within reason.
func Width() int { return min(max(size().Width, 60), 120) }

func newDown(f *cli.Factory, name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove the environment; only the cache stays",
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if err := environment.Down(ctx, environment.Options{Name: *name}); err != nil {
				return cli.WhenInterrupted(ctx, err, "Part of it may still be there; finish it: kubernaut env down")
			}
			f.IO.Say("Environment %q is gone; what was built stays in the cache.", *name)
			return nil
		},
	}
}

func newKubeconfig(f *cli.Factory, name *string) *cobra.Command {
	return &cobra.Command{
		Use:     "kubeconfig",
		Short:   "Print the kubeconfig of the running environment",
		Long:    "Kubeconfig prints the administrator's kubeconfig. Keep it to yourself: it may do everything in the\nenvironment's cluster.",
		Example: "  kubernaut env kubeconfig > /tmp/kubernaut.yaml\n  kubectl --kubeconfig /tmp/kubernaut.yaml get pods -A",
		Args:    cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := environment.Kubeconfig(cmd.Context(), *name)
			if err != nil {
				return err
			}
			_, err = f.IO.Out.Write(raw)
			return err
		},
	}
}

func newPlan(f *cli.Factory, name *string) *cobra.Command {
	var output string
	var only []string
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Print what up would do, and in what order",
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printPlan(cmd.Context(), f, environment.Options{Name: *name, Only: only}, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "`format`: text, dot or json")
	cmd.Flags().StringSliceVar(&only, "only", nil, "only these `steps` and what they need")
	return cmd
}

func printPlan(ctx context.Context, f *cli.Factory, o environment.Options, output string) error {
	p, err := environment.Plan(ctx, o)
	if err != nil {
		return err
	}
	switch output {
	case "text":
		_, err = fmt.Fprint(f.IO.Out, p.Text())
	case "dot":
		_, err = fmt.Fprint(f.IO.Out, p.DOT())
	case "json":
		err = cli.JSON.Encode(f.IO.Out, p)
	default:
		err = cli.Usagef("-o %s: it is one of text, dot, json", output)
	}
	return err
}

func newCheck(f *cli.Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Compare this machine with what an environment needs",
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := environment.Check(cmd.Context())
			if err != nil {
				return err
			}
			table := terminal.Table{Header: []string{"NEEDED", "STATE", "FOUND", "NEXT STEP"}}
			missing := 0
			for _, finding := range found {
				state, fix := terminal.Cell{Text: "ok", Style: f.IO.OutPaint.Good}, ""
				if !finding.OK {
					missing++
					fix = finding.Fix
					state = terminal.Cell{Text: "missing", Style: f.IO.OutPaint.Bad}
				}
				table.Add(append([]terminal.Cell{{Text: finding.Name}, state}, terminal.Plain(finding.Found, fix)...)...)
			}
			if err := table.Write(f.IO.Out); err != nil || missing == 0 {
				return err
			}
			return fmt.Errorf("%d of %d things that an environment needs are missing; the table says how to get them", missing, len(found))
		},
	}
}

func newBuild(f *cli.Factory, name *string) *cobra.Command {
	var show string
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Compile every program and make every image, and start nothing",
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			begin, err := Display(f.IO, show)
			if err != nil {
				return err
			}
			display := begin()
			_, err = environment.Build(cmd.Context(), environment.Options{Name: *name}, display)
			display.Close()
			return cli.WhenInterrupted(cmd.Context(), err, "What is built stays. Go on: kubernaut env build")
		},
	}
	progressFlag(cmd, &show)
	return cmd
}
