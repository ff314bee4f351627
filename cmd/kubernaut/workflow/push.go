package workflow

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/workflow"
	"kubernaut.ai/kubernaut/workflows"
)

type pushOptions struct {
	*cli.Factory
	check  bool
	output cli.Format
}

func newPush(f *cli.Factory) *cobra.Command {
	o := &pushOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "push FOLDER",
		Short: "Check, publish and register a workflow",
		Long: `Push checks the workflow in a folder (workflow.yaml and pipeline.yaml), makes its Tekton bundle,
sends it to the cluster's registry through the API server, and registers it in the catalog.
Images of the cluster's registry are pinned to their digests. A shipped workflow may be named
without a folder. Pushing the same again changes nothing; a changed workflow needs another version.`,
		Example: "  kubernaut workflow push increase-memory\n  kubernaut workflow push ./my-workflow --check-only",
		Args:    cli.ExactArgs("the FOLDER of a workflow"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return push(cmd.Context(), o, args[0])
		},
	}
	cmd.Flags().BoolVar(&o.check, "check-only", false, "check the folder and publish nothing; needs no cluster")
	cli.OutputFlag(cmd.Flags(), &o.output, cli.JSON, cli.YAML, cli.Name)
	return cmd
}

func push(ctx context.Context, o *pushOptions, folder string) error {
	source, err := open(folder)
	if err != nil {
		return err
	}
	r, err := workflow.Read(source)
	if err != nil {
		return fmt.Errorf("workflow %s is not well formed:\n%w", folder, err)
	}
	if o.check {
		_, err := fmt.Fprintf(o.IO.Out, "%s@%s is well formed\n", r.Definition.Name, r.Definition.Version)
		return err
	}
	c, err := o.Connect(ctx)
	if err != nil {
		return err
	}
	done, err := workflow.Publish(ctx, c, r, func(note string) { o.IO.Say("%s", o.IO.ErrPaint.Faint(note)) })
	if err != nil {
		return cli.WhenInterrupted(ctx, fmt.Errorf("workflow %s: %w", r.Definition.Name, err),
			"What was sent is kept and harmless; push again to finish: kubernaut workflow push "+folder)
	}
	return o.done(done)
}

func (o *pushOptions) done(p workflow.Published) error {
	w := p.Workflow
	for _, warning := range w.Warnings {
		o.IO.Say("%s %s", o.IO.ErrPaint.Warn("warning:"), warning)
	}
	if o.output == cli.JSON || o.output == cli.YAML {
		return o.output.Encode(o.IO.Out, w)
	}
	if o.output == cli.Name {
		return printNames(o.Factory, []datastorage.Workflow{w})
	}
	state := "unchanged"
	if p.New {
		state = "registered"
	}
	_, err := fmt.Fprintf(o.IO.Out, "%s@%s %s, %s\n", w.WorkflowName, w.Version, state, w.ContainerDigest)
	return err
}

// open finds the folder, or the shipped workflow of that name.
func open(folder string) (fs.FS, error) {
	info, err := os.Stat(folder)
	switch {
	case err == nil && info.IsDir():
		return os.DirFS(folder), nil
	case err == nil:
		return nil, fmt.Errorf("%s is a file; a workflow is a folder with %s and %s", folder, workflow.DefinitionFile, workflow.PipelineFile)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("opening the workflow: %w", err)
	}
	if !strings.ContainsAny(folder, "/.") {
		if _, err := fs.Stat(workflows.Shipped, folder); err == nil {
			return fs.Sub(workflows.Shipped, folder)
		}
	}
	var shipped []string
	entries, err := workflows.Shipped.ReadDir(".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		shipped = append(shipped, e.Name())
	}
	return nil, fmt.Errorf("there is no folder %s, and no shipped workflow of that name; shipped are: %s", folder, strings.Join(shipped, ", "))
}
