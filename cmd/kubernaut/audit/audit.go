// Package audit has the commands on the audit trail: read it, hold a case, remove what
// is too old, and look after what is parked.
package audit

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
)

// New returns the command audit.
func New(f *cli.Factory) *cobra.Command {
	s := &source{Factory: f}
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Read the audit trail, and look after it",
		Long: `Audit reads the audit trail in Data Storage: that of the cluster, or with --server any other.
Commands that take filters want all of them to hold.`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&s.server.URL, "server", "", "`URL` of a Data Storage, instead of the cluster's")
	flags.StringVar(&s.server.TokenFile, "token-file", "", "with --server: `path` of the bearer token")
	flags.StringVar(&s.server.CAFile, "certificate-authority", "", "with --server: `path` of the certificate to trust beside the system's")
	cmd.AddCommand(newList(s), newExport(s), newFollow(s), newSummary(s), newVerify(s),
		newHold(s), newRetention(s), newParked(s))
	return cmd
}

// source is where a command reads from.
type source struct {
	*cli.Factory
	server connect.Server
}

// open returns a client of Data Storage, and the cluster it is in; nil with --server.
func (s *source) open(ctx context.Context) (*datastorage.Client, *connect.Cluster, error) {
	if s.server.URL != "" {
		storage, err := s.server.Open()
		return storage, nil, err
	}
	if s.server.TokenFile != "" || s.server.CAFile != "" {
		return nil, nil, cli.Usagef("--token-file and --certificate-authority are for --server")
	}
	cluster, err := s.Connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	storage, err := cluster.DataStorage(ctx)
	return storage, cluster, err
}

// explain adds what to do next to an error of Data Storage.
func (s *source) explain(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if s.server.URL == "" {
		err = connect.ExplainDataStorage(err)
	}
	return cli.WhenInterrupted(ctx, fmt.Errorf("%s: %w", doing, err), "Reading changes nothing.")
}
