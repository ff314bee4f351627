package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"kubernaut.ai/kubernaut/cmd/kubernaut/audit"
	cmdenvironment "kubernaut.ai/kubernaut/cmd/kubernaut/environment"
	"kubernaut.ai/kubernaut/cmd/kubernaut/execution"
	cmdinstallation "kubernaut.ai/kubernaut/cmd/kubernaut/installation"
	"kubernaut.ai/kubernaut/cmd/kubernaut/pause"
	"kubernaut.ai/kubernaut/cmd/kubernaut/target"
	"kubernaut.ai/kubernaut/cmd/kubernaut/workflow"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/installation"
)

const rootHelp = `Kubernaut runs known remedies on targets in a Kubernetes cluster, one at a time per
target, says what happened and why, and keeps an audit trail.

A remedy is a workflow: a Tekton Pipeline in an OCI bundle, registered in the catalog.
Running one is a WorkflowExecution: an object in the cluster that tells how it goes.

` + cli.Codes

// newRoot assembles the command line.
func newRoot(f *cli.Factory) *cobra.Command {
	root := &cobra.Command{
		Use:           "kubernaut",
		Short:         "Run remedies on targets, and know what happened",
		Long:          rootHelp,
		Args:          unknownCommand,
		SilenceErrors: true, // main prints them, once
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(f.IO.In)
	root.SetOut(f.IO.Out)
	root.SetErr(f.IO.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return cli.Usagef("%w; see: %s --help", err, cmd.CommandPath())
	})
	root.AddGroup(
		&cobra.Group{ID: "executions", Title: "Executions:"},
		&cobra.Group{ID: "around", Title: "What is around them:"},
		&cobra.Group{ID: "environment", Title: "The environment, and installations:"},
	)
	onCluster(f, root, "executions", execution.NewRun(f), execution.NewGet(f), execution.NewExplain(f), execution.NewLogs(f), execution.NewCancel(f))
	onCluster(f, root, "environment", cmdinstallation.NewUpgrade(f), cmdinstallation.NewUninstall(f))
	onCluster(f, root, "around", target.NewTargets(f), target.NewUnblock(f), pause.New(f), pause.NewResume(f), audit.New(f), workflow.New(f))
	for _, cmd := range []*cobra.Command{cmdenvironment.New(f), newDemo(f)} {
		cmd.GroupID = "environment"
		root.AddCommand(cmd)
	}
	root.AddCommand(newVersion(f))
	return root
}

// onCluster adds commands that work on a cluster, with the flags that choose it.
func onCluster(f *cli.Factory, root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, cmd := range commands {
		cmd.GroupID = group
		f.ClusterFlags(cmd.PersistentFlags())
		root.AddCommand(cmd)
	}
}

// unknownCommand refuses a word that is no command and names those near it.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf(" (did you mean %q?)", near[0])
	}
	return cli.Usagef("%s has no command %q%s; see: %s --help", cmd.CommandPath(), args[0], hint, cmd.CommandPath())
}

func newVersion(f *cli.Factory) *cobra.Command {
	var format cli.Format
	var client bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program, and of what is installed in the cluster",
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := version()
			if !client {
				v.Installed = installed(cmd.Context(), f)
			}
			if format != cli.Table {
				return format.Encode(f.IO.Out, v)
			}
			_, err := fmt.Fprintf(f.IO.Out, "kubernaut %s (%s, %s)\n", v.Version, v.Go, v.Platform)
			for _, part := range v.Installed {
				_, err = fmt.Fprintf(f.IO.Out, "installed: %s %s, image %s\n", part.Name, part.Version, part.Image)
			}
			return err
		},
	}
	cli.OutputFlag(cmd.Flags(), &format, cli.JSON, cli.YAML)
	cmd.Flags().BoolVar(&client, "client", false, "ask no cluster")
	f.ClusterFlags(cmd.Flags())
	return cmd
}

// askBriefly is how long a version may wait for a cluster that does not answer.
const askBriefly = 3 * time.Second

// installed is what the cluster runs of Kubernaut; nothing when there is no
// cluster, or it does not answer: the version of this program is told all the same.
func installed(ctx context.Context, f *cli.Factory) []installation.Part {
	ctx, cancel := context.WithTimeout(ctx, askBriefly)
	defer cancel()
	c, err := connect.Open(ctx, f.Cluster)
	if err != nil {
		return nil
	}
	parts, err := installation.Installed(ctx, c.Core)
	if err != nil {
		return nil
	}
	return parts
}

// versionInfo is what `version -o json` prints.
type versionInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`

	Installed []installation.Part `json:"installed,omitempty"` // in the cluster
}

// version reads what the Go linker wrote into the program.
func version() versionInfo {
	v := versionInfo{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value
		}
	}
	return v
}
