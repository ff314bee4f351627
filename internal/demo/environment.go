package demo

import (
	"context"
	"errors"
	"fmt"

	"kubernaut.ai/kubernaut/internal/cluster/local"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/environment"
	"kubernaut.ai/kubernaut/internal/terminal"
)

// checkMachine compares the machine with what a local cluster needs.
func checkMachine(ctx context.Context, s *stage) error {
	table := terminal.Table{Blank: true}
	var errs []error
	for _, f := range local.Check(ctx, s.cache) {
		mark := terminal.Cell{Text: "✓", Style: s.IO.OutPaint.Good}
		if !f.OK {
			mark = terminal.Cell{Text: "✗", Style: s.IO.OutPaint.Bad}
			errs = append(errs, fmt.Errorf("%s: %s; %s", f.Name, f.Found, f.Fix))
		}
		table.Add(append([]terminal.Cell{mark}, terminal.Plain(f.Name, f.Found)...)...)
	}
	if err := table.Write(s.IO.Out); err != nil {
		return err
	}
	return errors.Join(errs...)
}

// bringUp starts the environment, or finds it running, and reaches its cluster.
func bringUp(ctx context.Context, s *stage) error {
	s.say("A real one-node Kubernetes with Tekton, a registry, PostgreSQL, Redis, Data Storage and the controller.")
	s.say("What is not in the cache yet is compiled once.")
	display := s.Display()
	told, err := environment.Up(ctx, s.Environment, display)
	display.Close()
	if err != nil {
		return err
	}
	s.report = told
	s.cluster, err = connect.Open(ctx, connect.Options{
		Local: func(ctx context.Context) ([]byte, string, error) {
			raw, err := environment.Kubeconfig(ctx, s.Environment.Name)
			return raw, s.Environment.Name, err
		},
		Namespace: namespace,
		LocalOnly: true,
	})
	if err != nil {
		return err
	}
	version, err := s.cluster.Core.Discovery().ServerVersion()
	if err != nil {
		return connect.Explain(fmt.Errorf("asking the cluster for its version: %w", err))
	}
	s.shown("Kubernetes %s answers at %s", version.GitVersion, s.cluster.Config.Host)
	return nil
}
