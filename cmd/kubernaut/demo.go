package main

import (
	"context"

	"github.com/spf13/cobra"

	cmdenvironment "kubernaut.ai/kubernaut/cmd/kubernaut/environment"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/demo"
	"kubernaut.ai/kubernaut/internal/environment"
)

const demoHelp = `Demo checks this machine, brings up the environment, deploys a Deployment that is OOM-killed again and
again, and heals it with the workflow increase-memory. It shows that the same remedy is not run twice in
a row, how a failure is told, and the audit trail of it all. The environment stays; remove it with:
kubernaut env down`

func newDemo(f *cli.Factory) *cobra.Command {
	var name, show string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See everything work: a broken Deployment is healed",
		Long:  demoHelp,
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return play(cmd.Context(), f, name, show)
		},
	}
	cmd.Flags().StringVar(&name, "name", environment.DefaultName, "`name` of the environment")
	cmd.Flags().StringVar(&show, "progress", "auto", "how progress is shown: tty, plain or auto")
	return cmd
}

func play(ctx context.Context, f *cli.Factory, name, show string) error {
	if show == "json" {
		return cli.Usagef("--progress json: a demonstration is for people; it is one of auto, tty, plain")
	}
	display, err := cmdenvironment.Display(f.IO, show)
	if err != nil {
		return err
	}
	err = demo.Run(ctx, demo.Options{
		IO: f.IO, Now: f.Now, Width: cmdenvironment.Width(),
		Environment: environment.Options{Name: name},
		Display:     display,
	})
	return cli.WhenInterrupted(ctx, err, demo.Named("What is built and started stays. Go on: kubernaut demo; remove it: kubernaut env down", name))
}
