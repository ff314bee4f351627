// Package cli is what the commands share: their streams, the flags that choose
// a cluster, formats of output, and exit codes with names.
package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/terminal"
)

// Factory gives commands their world. Tests give them another.
type Factory struct {
	IO      terminal.Streams
	Now     func() time.Time
	Cluster connect.Options
	Quiet   bool

	connected *connect.Cluster
}

// ClusterFlags adds the flags that choose a cluster and a namespace.
func (f *Factory) ClusterFlags(flags *pflag.FlagSet) {
	flags.StringVar(&f.Cluster.Kubeconfig, "kubeconfig", "", "`path` of the kubeconfig; default: that of a running local environment, unless KUBECONFIG is set")
	flags.StringVar(&f.Cluster.Context, "context", "", "`name` of the kubeconfig's context to use")
	flags.StringVarP(&f.Cluster.Namespace, "namespace", "n", "", "`namespace` of the executions")
	flags.BoolVarP(&f.Quiet, "quiet", "q", false, "do not say which cluster is used")
}

// Connect reaches the cluster the flags choose, and says which one that is.
func (f *Factory) Connect(ctx context.Context) (*connect.Cluster, error) {
	if f.connected != nil {
		return f.connected, nil
	}
	c, err := connect.Open(ctx, f.Cluster)
	if err != nil {
		return nil, err
	}
	if !f.Quiet {
		f.IO.Say("%s", f.IO.ErrPaint.Faint("cluster: "+c.Source))
	}
	f.connected = c
	return c, nil
}

// ExactArgs refuses another number of arguments, naming what is expected.
func ExactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return Usagef("%s needs %s; see: %s --help", cmd.CommandPath(), names[len(args)], cmd.CommandPath())
		}
		if len(args) > len(names) {
			return Usagef("%s takes no argument %q; see: %s --help", cmd.CommandPath(), args[len(names)], cmd.CommandPath())
		}
		return nil
	}
}

// NoArgs refuses every argument.
var NoArgs = ExactArgs()
