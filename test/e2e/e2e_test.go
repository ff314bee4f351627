// Package e2e runs specs on the whole environment: a real Kubernetes with real
// Tekton, a private registry, PostgreSQL, Redis, Data Storage and the
// controller, brought up from its plan.
//
// Every spec has a namespace of its own and may run in any order. Those that
// harm nothing that others use run side by side, after those that do.
package e2e

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"kubernaut.ai/kubernaut/internal/cluster/local"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/environment"
	"kubernaut.ai/kubernaut/internal/environment/progress"
	"kubernaut.ai/kubernaut/internal/environment/report"
	"kubernaut.ai/kubernaut/internal/workflow"
	"kubernaut.ai/kubernaut/workflows"
)

// environmentName keeps the specs' environment apart from one of the user's.
const environmentName = "e2e"

// environmentCluster is the cluster all specs run on.
var environmentCluster *connect.Cluster

// place is where that is: a local cluster of the specs' own, unless the process's
// environment names another kind (CONTRIBUTING.md).
func place() environment.Place {
	return environment.Place{
		Cluster: cmp.Or(os.Getenv("KUBERNAUT_E2E_CLUSTER"), environment.Local), Kubeconfig: os.Getenv("KUBERNAUT_E2E_KUBECONFIG"),
		Registry: os.Getenv("KUBERNAUT_E2E_REGISTRY"), RegistryCA: os.Getenv("KUBERNAUT_E2E_REGISTRY_CA"),
		NodeImage: os.Getenv("KUBERNAUT_E2E_NODE_IMAGE"),
	}
}

//go:embed workflows
var ownWorkflows embed.FS

func TestMain(m *testing.M) {
	local.Init()
	if name := os.Getenv(smallNode); name != "" {
		if err := bringUpSmallNode(name); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if testing.Short() {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code, err := suite(ctx, m)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// suite brings the environment up, runs the specs and takes it down again. What a
// run that was killed has left is not begun with.
func suite(ctx context.Context, m *testing.M) (code int, err error) {
	where := place()
	options := environment.Options{Name: environmentName, Place: where, AuditLog: where.Cluster != environment.Existing}
	sink := progress.Plain(os.Stderr)
	defer sink.Close()
	if err := takenDown(ctx); err != nil {
		return 1, err
	}
	defer func() {
		if downErr := environment.Down(context.WithoutCancel(ctx), options, func(string) {}); err == nil {
			err = downErr
		}
	}()
	told, err := environment.Up(ctx, options, sink)
	if err := errors.Join(err, keepReport(told)); err != nil {
		return 1, err
	}
	if environmentCluster, err = open(ctx); err != nil {
		return 1, err
	}
	if err := publish(ctx); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// takenDown removes what a run that was killed has left. The cluster it ran in may be
// gone where it was not its own.
func takenDown(ctx context.Context) error {
	quietly := func(string) {}
	err := environment.Down(ctx, environment.Options{Name: environmentName}, quietly)
	if err != nil && place().Cluster == environment.Existing {
		return environment.Forget(ctx, environmentName, quietly)
	}
	return err
}

// keepReport writes how the environment came up into the folder that
// KUBERNAUT_ARTEFACTS names.
func keepReport(told report.Report) error {
	dir := os.Getenv("KUBERNAUT_ARTEFACTS")
	if dir == "" {
		return nil
	}
	var page bytes.Buffer
	junit, err := told.JUnit()
	if err := errors.Join(err, told.HTML(&page), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "environment.html"), page.Bytes(), 0o644),
		os.WriteFile(filepath.Join(dir, "environment.xml"), junit, 0o644),
	)
}

func open(ctx context.Context) (*connect.Cluster, error) {
	raw, err := environment.Kubeconfig(ctx, environmentName)
	if err != nil {
		return nil, err
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig(raw)
	if err != nil {
		return nil, err
	}
	return connect.New(cfg, "default", "the specs' environment")
}

// publish pushes the shipped remedies and those of the specs.
func publish(ctx context.Context) error {
	own, err := fs.Sub(ownWorkflows, "workflows")
	if err != nil {
		return err
	}
	for _, from := range []fs.FS{workflows.Shipped, own} {
		folders, err := fs.ReadDir(from, ".")
		if err != nil {
			return err
		}
		for _, folder := range folders {
			if err := publishOne(ctx, from, folder.Name()); err != nil {
				return fmt.Errorf("publishing %s: %w", folder.Name(), err)
			}
		}
	}
	return nil
}

func publishOne(ctx context.Context, from fs.FS, name string) error {
	folder, err := fs.Sub(from, name)
	if err != nil {
		return err
	}
	read, err := workflow.Read(folder)
	if err != nil {
		return err
	}
	_, err = workflow.Publish(ctx, environmentCluster, read, func(string) {})
	return err
}
