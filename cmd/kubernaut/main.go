// Command kubernaut runs remedies on targets, reads what became of them, and
// brings up the environment in which all of it happens.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/cluster/local"
	"kubernaut.ai/kubernaut/internal/environment"
	"kubernaut.ai/kubernaut/internal/terminal"
)

func main() {
	local.Init() // when this process is the init of a local node, it does not return
	os.Exit(int(run(os.Args[1:])))
}

// run is the whole program. The first Ctrl-C asks it to end, the second ends it.
func run(args []string) cli.Code {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	klog.SetLogger(logr.Discard()) // libraries return their errors; what they also log only disturbs

	f := &cli.Factory{IO: terminal.System(), Now: time.Now}
	f.Cluster.Local = running
	root := newRoot(f)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && err.Error() != "" {
		_, _ = fmt.Fprintf(f.IO.Err, "%s %v\n", f.IO.ErrPaint.Bad("kubernaut:"), err)
	}
	return cli.CodeOf(ctx, err)
}

// running returns the kubeconfig of the local environment, if it runs.
func running(ctx context.Context) (kubeconfig []byte, name string, err error) {
	kubeconfig, err = environment.Kubeconfig(ctx, environment.DefaultName)
	if err != nil {
		return nil, "", nil //nolint:nilerr // whoever has none uses a kubeconfig: also outside a checkout
	}
	return kubeconfig, environment.DefaultName, nil
}
