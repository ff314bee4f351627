package execution

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/follow"
)

// waiting is how an execution is waited for.
type waiting struct {
	*cli.Factory
	cluster *connect.Cluster
	timeout time.Duration // 0: as long as it takes
}

// wait follows ex to its end and shows how it goes. Ctrl-C and the timeout end
// the following alone: the execution goes on.
func wait(ctx context.Context, w waiting, ex *v1alpha1.WorkflowExecution) (*v1alpha1.WorkflowExecution, error) {
	within := ctx
	if w.timeout > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, w.timeout)
		defer cancel()
	}
	key := client.ObjectKeyFromObject(ex)
	ended, err := follow.Execution(within, w.cluster, key, follow.Printer(w.IO.Err, w.IO.ErrPaint, w.Now()))
	if err == nil {
		return ended, nil
	}
	goOn := fmt.Sprintf("The execution goes on in the cluster. Follow it again: kubernaut logs -f %s -n %s; stop it: kubernaut cancel %s -n %s",
		key.Name, key.Namespace, key.Name, key.Namespace)
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil, &cli.Ended{Code: cli.Stopped, Err: fmt.Errorf("execution %s has not ended within %s. %s", key.Name, w.timeout, goOn)}
	}
	return nil, cli.WhenInterrupted(ctx, connect.Explain(err), goOn)
}
