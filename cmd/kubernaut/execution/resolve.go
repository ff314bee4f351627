package execution

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
)

// resolve asks the catalog whether the workflow exists, and for its latest
// version where none is given. A catalog that is away stops nothing that names
// a version: the controller may know it already.
func resolve(ctx context.Context, f *cli.Factory, c *connect.Cluster, ex *v1alpha1.WorkflowExecution) error {
	ref := &ex.Spec.WorkflowRef
	if ref.ContainerImage != "" {
		if ref.Version == "" {
			return cli.Usagef("--image needs a version too: kubernaut run %s@VERSION", ref.WorkflowID)
		}
		return nil
	}
	versions, err := versionsOf(ctx, c, ref.WorkflowID)
	switch {
	case errors.Is(err, datastorage.ErrNotFound):
		return unknownWorkflow(ctx, c, ref.WorkflowID)
	case err != nil && ref.Version == "":
		return fmt.Errorf("the catalog cannot say which version of %s is the latest; name one: kubernaut run %s@VERSION. %w",
			ref.WorkflowID, ref.WorkflowID, connect.ExplainDataStorage(err))
	case err != nil:
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.IO.Say("%s the catalog cannot be asked about %s@%s now: %v", f.IO.ErrPaint.Warn("note:"), ref.WorkflowID, ref.Version, connect.ExplainDataStorage(err))
		return nil
	}
	return choose(ref, versions)
}

func versionsOf(ctx context.Context, c *connect.Cluster, id string) ([]datastorage.Workflow, error) {
	catalog, err := c.DataStorage(ctx)
	if err != nil {
		return nil, err
	}
	versions, err := catalog.WorkflowVersions(ctx, id)
	if err == nil && len(versions) == 0 {
		return nil, datastorage.ErrNotFound
	}
	return versions, err
}

// choose takes the latest version, or checks the one that is named.
func choose(ref *v1alpha1.WorkflowRef, versions []datastorage.Workflow) error {
	var have []string
	for _, v := range versions {
		if v.Version == ref.Version || (ref.Version == "" && v.IsLatestVersion) {
			ref.Version = v.Version
			return nil
		}
		have = append(have, v.Version)
	}
	if ref.Version == "" {
		return fmt.Errorf("workflow %s has no active version; there are: %s", ref.WorkflowID, strings.Join(have, ", "))
	}
	return fmt.Errorf("workflow %s has no version %s; it has: %s", ref.WorkflowID, ref.Version, strings.Join(have, ", "))
}

// unknownWorkflow names the workflows that there are.
func unknownWorkflow(ctx context.Context, c *connect.Cluster, id string) error {
	catalog, err := c.DataStorage(ctx)
	if err != nil {
		return err
	}
	page, err := catalog.Workflows(ctx, datastorage.ListWorkflowsParams{Latest: true, Limit: 20})
	if err != nil {
		return fmt.Errorf("the catalog has no workflow %q, and cannot be listed: %w", id, err)
	}
	var names []string
	for _, w := range page.Workflows {
		names = append(names, w.WorkflowName)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return fmt.Errorf("the catalog has no workflow %q; it is empty: register one with: kubernaut workflow push FOLDER", id)
	}
	return fmt.Errorf("the catalog has no workflow %q; it has: %s", id, strings.Join(names, ", "))
}
