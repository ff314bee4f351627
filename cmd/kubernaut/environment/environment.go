// Package environment has the commands on the environment Kubernaut runs in.
package environment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/environment"
	"kubernaut.ai/kubernaut/internal/environment/progress"
	"kubernaut.ai/kubernaut/internal/environment/run"
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
	cmd.AddCommand(newUp(f, name), newDown(f, name), newStatus(f, name), newKubeconfig(f, name), newPlan(f, name),
		newReport(f, name), newDiagnose(f, name), newCheck(f), newBuild(f, name))
	return cmd
}

func newUp(f *cli.Factory, name *string) *cobra.Command {
	o := environment.Options{}
	var show string
	cmd := &cobra.Command{
		Use:   "up [NAME...]",
		Short: "Bring the environment up, or finish what is missing",
		Long: "Up builds what is not in the cache, starts everything in parallel, and ends when all of it is ready.\n" +
			"With names of steps or components it brings up these and what they need, and nothing else.\n" +
			"It may be interrupted and called again at any time: it goes on where it was.",
		Example: "  kubernaut env up\n  kubernaut env up datastorage\n  kubernaut env up --timeout tekton=10m --timeout all=3m",
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name, o.Only = *name, append(o.Only, args...)
			return up(cmd.Context(), f, o, show)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Port, "port", 0, "loopback `port` of the API server (default: a free one)")
	flags.StringSliceVar(&o.Only, "only", nil, "only these `names` and what they need; the same as arguments")
	flags.IntVar(&o.Cores, "cores", 0, "how many steps that keep a core busy may run at once (default: all cores)")
	flags.Var(&timeouts{&o.Timeouts}, "timeout", "`step=time` after which a step counts as stuck; all=time for every other step (default: five times the slowest of its last nine, at least 3m, at most 45m)")
	placeFlags(flags, &o.Place)
	flags.BoolVar(&o.Keep, "keep", false, "keep a node that does not become ready, for a look at it")
	flags.BoolVar(&o.AuditLog, "audit-log", false, "the API server of a new cluster, local or kind, writes down who changes what, in a file below the cache")
	progressFlag(cmd, &show)
	return cmd
}

// placeFlags choose where the environment runs.
func placeFlags(flags *pflag.FlagSet, p *environment.Place) {
	flags.StringVar(&p.Cluster, "cluster", "", "where it runs: `local` (a node of its own, without a container engine), kind (in Docker or Podman) or existing (default: as before, else local)")
	flags.StringVar(&p.Kubeconfig, "kubeconfig", "", "`path` of the kubeconfig of an existing cluster (default: as kubectl finds it)")
	flags.StringVar(&p.Context, "context", "", "`name` of its context (default: the current one)")
	flags.StringVar(&p.Registry, "registry", "", "`host/path` that images are pushed to, reachable and trusted by the nodes of the existing cluster")
	flags.StringVar(&p.RegistryCA, "registry-ca", "", "`file` with the CA of that registry (default: those this machine trusts)")
	flags.StringVar(&p.StorageClass, "storage-class", "", "`name` of the StorageClass of an existing cluster for the databases (default: its default one)")
	flags.BoolVar(&p.Ephemeral, "ephemeral", false, "in an existing cluster, let what the databases keep go with their pods")
	flags.StringVar(&p.NodeImage, "node-image", "", "`image` of the nodes of --cluster kind, for example kindest/node:v1.37.0 from a mirror (default: that of the kind library, from Docker Hub)")
}

// timeouts are flags of the form step=time.
type timeouts struct {
	of *map[string]time.Duration
}

// String is the flag's default: none.
func (t *timeouts) String() string { return "" }

// Type is what the help calls its value.
func (t *timeouts) Type() string { return "step=time" }

// Set reads one, or several with commas between.
func (t *timeouts) Set(text string) error {
	for entry := range strings.SplitSeq(text, ",") {
		step, after, _ := strings.Cut(entry, "=")
		d, err := time.ParseDuration(after)
		if err != nil || d <= 0 || step == "" {
			return fmt.Errorf("%q: write step=time, for example tekton=5m or all=10m", entry)
		}
		if *t.of == nil {
			*t.of = map[string]time.Duration{}
		}
		(*t.of)[step] = d
	}
	return nil
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
	own := ownName(o.Name)
	if err != nil {
		return cli.WhenInterrupted(ctx, goOn(err, own), "What is built and started stays. Go on: kubernaut env up"+own+"; remove it: kubernaut env down"+own)
	}
	if show != "json" {
		f.IO.Say("\n%s", told.Text(Width()))
	}
	if page, err := environment.ReportPage(o.Name); err == nil {
		f.IO.Say("The same as a page: %s", page)
	}
	f.IO.Say("Environment %q is up. Look at it: kubernaut env status%s; use kubectl: kubernaut env kubeconfig%s > FILE", o.Name, own, own)
	return nil
}

// goOn adds to the failure of a run what to do next. A plan that was refused
// has changed nothing.
func goOn(err error, own string) error {
	var failure *run.Failure
	if !errors.As(err, &failure) || len(failure.Causes) == 0 {
		return err
	}
	return fmt.Errorf("%w\nWhat became ready stays. When the cause is mended, go on: kubernaut env up%s; remove it all: kubernaut env down%s; look at it: kubernaut env diagnose%s, kubernaut env report%s; kubectl is used with: kubernaut env kubeconfig%s > FILE",
		err, own, own, own, own, own)
}

// ownName is what commands need to be told of an environment that is not the
// default one.
func ownName(name string) string {
	if name == environment.DefaultName {
		return ""
	}
	return " --name " + name
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
	forget := false
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Remove the environment; only the cache stays",
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, say := cmd.Context(), func(note string) { f.IO.Say("%s", note) }
			if forget {
				if err := environment.Forget(ctx, *name, say); err != nil {
					return err
				}
				f.IO.Say("Environment %q is forgotten; what it has in its cluster stays there.", *name)
				return nil
			}
			if err := environment.Down(ctx, environment.Options{Name: *name}, say); err != nil {
				return cli.WhenInterrupted(ctx, err, "Part of it may still be there; finish it: kubernaut env down"+ownName(*name))
			}
			f.IO.Say("Environment %q is gone; what was built stays in the cache.", *name)
			return nil
		},
	}
	cmd.Flags().BoolVar(&forget, "forget", false, "only forget it: for an existing cluster that is gone")
	return cmd
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
