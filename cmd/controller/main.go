// Command controller runs WorkflowExecutions.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"kubernaut.ai/kubernaut/internal/controller"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "controller:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, logs io.Writer) error {
	flags := flag.NewFlagSet("controller", flag.ContinueOnError)
	path := flags.String("config", "", "read the configuration from this `file`; without it everything has its default")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cfg, err := read(*path)
	if err != nil {
		return err
	}
	cfg.Identity = os.Getenv("POD_NAME")
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return fmt.Errorf("configuration: logLevel: %w", err)
	}
	handler := slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: level})
	ctrl.SetLogger(logr.FromSlogHandler(handler))
	cluster, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w", err)
	}
	return serve(ctx, cluster, cfg)
}

func read(path string) (controller.Config, error) {
	if path == "" {
		return controller.ParseConfig(nil)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return controller.Config{}, fmt.Errorf("reading the configuration: %w", err)
	}
	return controller.ParseConfig(raw)
}

func serve(ctx context.Context, cluster *rest.Config, cfg controller.Config) error {
	storage, err := controller.DataStorage(cfg.DataStorage)
	if err != nil {
		return err
	}
	mgr, err := controller.NewManager(cluster, cfg)
	if err != nil {
		return err
	}
	if err := controller.Setup(ctx, mgr, cfg, controller.Ports{Catalog: storage, Audit: storage, Metrics: metrics.Registry}); err != nil {
		return err
	}
	return mgr.Start(ctx)
}
