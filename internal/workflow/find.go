package workflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/connect"
)

// Find returns one version of a workflow of the catalog: the one given, else the
// latest. The error says what there is instead; it is ErrNotFound only when the
// catalog could be asked.
func Find(ctx context.Context, c *connect.Cluster, name, version string) (datastorage.Workflow, error) {
	versions, err := Versions(ctx, c, name)
	if err != nil {
		return datastorage.Workflow{}, err
	}
	var have []string
	for _, v := range versions {
		if v.Version == version || (version == "" && v.IsLatestVersion) {
			return v, nil
		}
		have = append(have, v.Version)
	}
	if version == "" {
		return datastorage.Workflow{}, absent("workflow %s has no active version; there are: %s", name, strings.Join(have, ", "))
	}
	return datastorage.Workflow{}, absent("workflow %s has no version %s; it has: %s", name, version, strings.Join(have, ", "))
}

// Versions returns all versions of a workflow of the catalog, the highest first.
func Versions(ctx context.Context, c *connect.Cluster, name string) ([]datastorage.Workflow, error) {
	catalog, err := c.DataStorage(ctx)
	if err != nil {
		return nil, err
	}
	versions, err := catalog.WorkflowVersions(ctx, name)
	switch {
	case errors.Is(err, datastorage.ErrNotFound), err == nil && len(versions) == 0:
		return nil, unknown(ctx, catalog, name)
	case err != nil:
		return nil, connect.ExplainDataStorage(err)
	}
	return versions, nil
}

// absentError is an ErrNotFound that says what there is.
type absentError struct{ message string }

func (e *absentError) Error() string { return e.message }

func (e *absentError) Is(class error) bool { return class == datastorage.ErrNotFound }

func absent(format string, args ...any) error { return &absentError{fmt.Sprintf(format, args...)} }

// unknown names the workflows that there are.
func unknown(ctx context.Context, catalog *datastorage.Client, name string) error {
	page, err := catalog.Workflows(ctx, datastorage.ListWorkflowsParams{Latest: true, Limit: 20})
	if err != nil {
		return absent("the catalog has no workflow %q, and cannot be listed: %v", name, err)
	}
	var names []string
	for _, w := range page.Workflows {
		names = append(names, w.WorkflowName)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return absent("the catalog has no workflow %q; it is empty: register one with: kubernaut workflow push FOLDER", name)
	}
	return absent("the catalog has no workflow %q; it has: %s", name, strings.Join(names, ", "))
}
