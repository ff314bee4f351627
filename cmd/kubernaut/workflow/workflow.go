// Package workflow has the commands on workflows: check a folder, publish it, and
// look at and change what the catalog has.
package workflow

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/cli"
)

// New returns the command workflow.
func New(f *cli.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "workflow",
		Short: "Write and register workflows, and find those that are",
		Args:  cli.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newValidate(f), newPush(f),
		newList(f), newGet(f), newVersions(f), newSearch(f),
		newDisable(f), newEnable(f),
	)
	return cmd
}

// reference splits NAME@VERSION.
func reference(text string) (name, version string) {
	name, version, _ = strings.Cut(text, "@")
	return name, version
}

// id is how commands name a version.
func id(w datastorage.Workflow) string { return w.WorkflowName + "@" + w.Version }

// printNames prints what can be handed to other commands.
func printNames(f *cli.Factory, entries []datastorage.Workflow) error {
	for _, w := range entries {
		if _, err := fmt.Fprintln(f.IO.Out, id(w)); err != nil {
			return err
		}
	}
	return nil
}
