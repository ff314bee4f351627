package execution

import (
	"context"
	"errors"
	"fmt"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/workflow"
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
	found, err := workflow.Find(ctx, c, ref.WorkflowID, ref.Version)
	switch {
	case err == nil && (found.Status == datastorage.WorkflowStatusDisabled || found.Status == datastorage.WorkflowStatusArchived):
		return outOfUse(found)
	case err == nil:
		ref.Version = found.Version
		return nil
	case errors.Is(err, datastorage.ErrNotFound):
		return err
	case ref.Version == "":
		return fmt.Errorf("the catalog cannot say which version of %s is the latest; name one: kubernaut run %s@VERSION. %w",
			ref.WorkflowID, ref.WorkflowID, err)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	f.IO.Say("%s the catalog cannot be asked about %s@%s now: %v", f.IO.ErrPaint.Warn("note:"), ref.WorkflowID, ref.Version, err)
	return nil
}

// outOfUse says what the controller would say, before an execution is made for it.
func outOfUse(w datastorage.Workflow) error {
	why := ""
	if w.StatusReason != "" {
		why = " (" + w.StatusReason + ")"
	}
	return fmt.Errorf("workflow %s@%s is %s%s; run another version, see: kubernaut workflow versions %s; or take it into use again: kubernaut workflow enable %s@%s",
		w.WorkflowName, w.Version, w.Status, why, w.WorkflowName, w.WorkflowName, w.Version)
}
