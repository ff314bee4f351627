// Package installation has the commands on what is installed in a cluster.
package installation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"kubernaut.ai/kubernaut/charts"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/installation"
)

const upgradeHelp = `Upgrade brings the definitions of Kubernaut's kinds in the cluster up to those of this program.
Every object that is there must be valid afterwards: where one is not, nothing is changed, and
the objects are named. Helm leaves definitions alone, so this comes before the chart's upgrade:

  kubernaut upgrade && helm upgrade kubernaut charts/kubernaut -n kubernaut-system --reuse-values

An environment of kubernaut env is upgraded, definitions and all, by: kubernaut env up`

// NewUpgrade returns the command that upgrades the kinds.
func NewUpgrade(f *cli.Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "upgrade",
		Short: "Bring the kinds in the cluster up to this version",
		Long:  upgradeHelp,
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.Connect(cmd.Context())
			if err != nil {
				return err
			}
			if err := installation.Upgrade(cmd.Context(), c.Config, charts.Definitions(), tell(f)); err != nil {
				return connect.Explain(err)
			}
			f.IO.Say("The kinds are those of this version. Next, the rest: helm upgrade kubernaut charts/kubernaut -n kubernaut-system --reuse-values; or, in an environment: kubernaut env up")
			return nil
		},
	}
}

// tell says each thing once.
func tell(f *cli.Factory) func(string) {
	last := ""
	return func(note string) {
		if note != last {
			f.IO.Say("%s", note)
		}
		last = note
	}
}

const uninstallHelp = `Uninstall takes Kubernaut out of the cluster, in the order in which nothing is lost and nothing is
left hanging: executions settle and are deleted, their runs go, the controller ends, then the records
of targets, everything else, and the kinds last. While executions run it refuses, or cancels them
with --cancel. Data, passwords and namespaces stay, unless --purge is given.`

type uninstallOptions struct {
	installation.Removal
	timeout time.Duration
	yes     bool
}

// NewUninstall returns the command that takes Kubernaut out of a cluster.
func NewUninstall(f *cli.Factory) *cobra.Command {
	o := &uninstallOptions{}
	cmd := &cobra.Command{
		Use:   "uninstall --yes",
		Short: "Take Kubernaut out of the cluster, in order",
		Long:  uninstallHelp,
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return uninstall(cmd.Context(), f, o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.yes, "yes", false, "really do it (required)")
	flags.BoolVar(&o.Cancel, "cancel", false, "cancel the executions that run")
	flags.BoolVar(&o.Purge, "purge", false, "remove data, passwords and namespaces too")
	flags.BoolVar(&o.Force, "force", false, "release what waits for a controller that does not run; what its audit trail lacks is lost")
	flags.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long it may take")
	return cmd
}

func uninstall(ctx context.Context, f *cli.Factory, o *uninstallOptions) error {
	c, err := f.Connect(ctx)
	if err != nil {
		return err
	}
	if !o.yes {
		return cli.Usagef("this removes Kubernaut, every execution and every record of a target from %s; say --yes when that is what you want", c.Source)
	}
	within, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	err = installation.Remove(within, c.Config, o.Removal, tell(f))
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return fmt.Errorf("not done within %s: %w; the same command goes on from here", o.timeout, err)
	case err != nil:
		return cli.WhenInterrupted(ctx, connect.Explain(err), "What is removed is removed; the same command goes on from here")
	}
	f.IO.Say("Kubernaut is gone from %s.", c.Source)
	return nil
}
