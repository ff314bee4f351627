package workflow

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/workflow"
)

type statusOptions struct {
	*cli.Factory
	status datastorage.WorkflowStatus
	reason string
	output cli.Format
}

func newDisable(f *cli.Factory) *cobra.Command {
	o := &statusOptions{Factory: f, status: datastorage.WorkflowStatusDisabled}
	cmd := o.command("disable NAME@VERSION --reason TEXT", "Take one version of a workflow out of use")
	cmd.Long = `Disable takes one version out of use: no new execution of it starts, and search does not find it. Runs
that have started go on. Is it the latest version, then the highest active one below becomes that.`
	cmd.Example = `  kubernaut workflow disable increase-memory@1.1.0 --reason "reads the wrong container"`
	return cmd
}

func newEnable(f *cli.Factory) *cobra.Command {
	o := &statusOptions{Factory: f, status: datastorage.WorkflowStatusActive}
	cmd := o.command("enable NAME@VERSION", "Take one version of a workflow into use again")
	cmd.Long = "Enable makes a version active again that was disabled, deprecated or archived."
	return cmd
}

func (o *statusOptions) command(use, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: cli.ExactArgs("NAME@VERSION"),
		RunE: func(cmd *cobra.Command, args []string) error { return setStatus(cmd.Context(), o, args[0]) },
	}
	cmd.Flags().StringVar(&o.reason, "reason", "", "`why`, for those who read the catalog later")
	cli.OutputFlag(cmd.Flags(), &o.output, cli.JSON, cli.YAML, cli.Name)
	return cmd
}

func setStatus(ctx context.Context, o *statusOptions, what string) error {
	name, version := reference(what)
	if version == "" {
		return cli.Usagef("name the version too, as in %s@1.0.0; see: kubernaut workflow versions %s", name, name)
	}
	if o.reason == "" && o.status == datastorage.WorkflowStatusDisabled {
		return cli.Usagef("say why with --reason: whoever misses the workflow will ask")
	}
	c, err := o.Connect(ctx)
	if err != nil {
		return err
	}
	found, err := workflow.Find(ctx, c, name, version)
	if err != nil {
		return cli.WhenInterrupted(ctx, err, "Nothing was changed.")
	}
	catalog, err := c.DataStorage(ctx)
	if err != nil {
		return err
	}
	var changed datastorage.Workflow
	if o.status == datastorage.WorkflowStatusDisabled {
		changed, err = catalog.DisableWorkflow(ctx, found.WorkflowID, o.reason)
	} else {
		changed, err = catalog.SetWorkflowStatus(ctx, found.WorkflowID, datastorage.WorkflowUpdate{Status: o.status, Reason: o.reason})
	}
	if err != nil {
		return cli.WhenInterrupted(ctx, connect.ExplainDataStorage(err), "It may have been changed; see: kubernaut workflow get "+what)
	}
	switch o.output {
	case cli.JSON, cli.YAML:
		return o.output.Encode(o.IO.Out, changed)
	case cli.Name:
		return printNames(o.Factory, []datastorage.Workflow{changed})
	}
	return o.tell(ctx, c, changed)
}

// tell says what has changed, and which version is the latest now.
func (o *statusOptions) tell(ctx context.Context, c *connect.Cluster, changed datastorage.Workflow) error {
	heir := "no version is active now"
	if latest, err := workflow.Find(ctx, c, changed.WorkflowName, ""); err == nil {
		heir = "the latest version is " + latest.Version
	}
	_, err := fmt.Fprintf(o.IO.Out, "%s is %s; %s\n", id(changed), changed.Status, heir)
	return err
}
