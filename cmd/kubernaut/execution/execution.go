// Package execution has the commands on executions: run, get, explain, logs and
// cancel.
package execution

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
)

// read returns the execution called name in the namespace of c.
func read(ctx context.Context, c *connect.Cluster, name string) (*v1alpha1.WorkflowExecution, error) {
	var ex v1alpha1.WorkflowExecution
	err := c.Client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, &ex)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("there is no execution %s in namespace %s; see: kubernaut get -A", name, c.Namespace)
	}
	if err != nil {
		return nil, connect.Explain(fmt.Errorf("reading execution %s/%s: %w", c.Namespace, name, err))
	}
	setKind(&ex)
	return &ex, nil
}

// setKind fills in what the API server's typed answers leave out.
func setKind(ex *v1alpha1.WorkflowExecution) {
	ex.APIVersion, ex.Kind = v1alpha1.GroupVersion.String(), "WorkflowExecution"
}

// codeOf is how a command that waited for ex ends.
func codeOf(ex *v1alpha1.WorkflowExecution) error {
	switch ex.Status.Phase {
	case v1alpha1.PhaseCompleted:
		return nil
	case v1alpha1.PhaseFailed:
		return cli.End(cli.ExecutionFailed)
	case v1alpha1.PhaseSkipped:
		return cli.End(cli.Skipped)
	}
	return cli.End(cli.Stopped)
}

// rounded is a duration as people write it.
func rounded(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
