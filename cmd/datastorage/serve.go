package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/bundle"
	"kubernaut.ai/kubernaut/internal/datastorage/identity"
	"kubernaut.ai/kubernaut/internal/datastorage/overflow"
	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
	"kubernaut.ai/kubernaut/internal/service"
)

// endBudget is what remains, after the requests, for redrive to stop between two
// batches and for the connections to close.
const (
	endBudget  = 8 * time.Second
	jobsBudget = endBudget - postgres.CloseTimeout
)

// memoryLimit is the memory, unless GOMEMLIMIT says otherwise, near which garbage is
// collected more eagerly. It stops nothing.
const memoryLimit = 96 << 20

// serve answers until ctx ends.
func serve(ctx context.Context, w world, file string) error {
	config, err := readConfig(file, w.getenv)
	if err != nil {
		return err
	}
	log, err := service.NewLog(w.stderr, config.Log)
	if err != nil {
		return err
	}
	if w.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	store, err := postgres.Open(config.databaseURL, postgres.Config{
		MaxConnections:   config.Database.MaxConnections,
		ConnectTimeout:   config.Database.ConnectTimeout.Duration,
		StatementTimeout: config.Database.StatementTimeout.Duration,
		LockTimeout:      config.Database.LockTimeout.Duration,
	}, log)
	if err != nil {
		return err
	}
	defer store.Close()
	parked, err := openOverflow(config, log)
	if err != nil {
		return err
	}
	if parked != nil {
		defer func() { _ = parked.Close() }() // nothing is under way
	}
	gate, err := newGate(config, log)
	if err != nil {
		return err
	}
	return serveWith(ctx, config, parts{store, parked, gate, log})
}

// parts are what the service is wired from.
type parts struct {
	store  *postgres.Store
	parked *overflow.Overflow // nil: nothing is parked
	gate   datastorage.Gate
	log    *slog.Logger
}

func openOverflow(config Config, log *slog.Logger) (*overflow.Overflow, error) {
	if config.redisURL == "" {
		log.Warn("REDIS_URL is empty: while the database is away, events are refused")
		return nil, nil
	}
	return overflow.Open(config.redisURL, config.Redis.Capacity, log)
}

func newGate(config Config, log *slog.Logger) (datastorage.Gate, error) {
	if config.Auth == "none" {
		log.Warn("auth is none: everybody may do everything, and actors are who they say")
		return datastorage.OpenGate{}, nil
	}
	cluster, err := clusterConfig(config.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("finding the cluster that knows the callers (or set auth: none): %w", err)
	}
	return identity.New(cluster, config.Audience)
}

func clusterConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}

// serveWith runs the listeners and the jobs beside them, and ends them in order:
// readiness, requests, jobs.
func serveWith(ctx context.Context, config Config, p parts) error {
	metrics := datastorage.NewMetrics()
	watch := newWatch(p, metrics)
	handler := datastorage.New(datastorage.Options{
		Trail: p.store, Reader: p.store, Overflow: overflowOf(p), Parking: overflowOf(p), Holds: p.store, Retention: p.store, Catalog: p.store,
		Gate: p.gate, Log: p.log, Metrics: metrics, Health: watch, Ending: watch.ended, Policies: config.Retention.policies(),
		Verify: config.Catalog.VerifyBundles, Bundles: &bundle.Reader{
			CAFile: config.Catalog.RegistryCAFile, LoginFile: config.Catalog.DockerConfigFile, Patience: config.Catalog.RegistryTimeout.Duration,
		},
		Limits: datastorage.Limits{
			BatchEvents: config.Limits.BatchEvents, BodyBytes: config.Limits.BodyBytes, BodiesBytes: config.Limits.BodiesBytes,
			RequestsPerSecond: config.Limits.RequestsPerSecond, Burst: config.Limits.Burst,
		},
	})
	listeners, err := listenersOf(config, handler)
	if err != nil {
		return err
	}
	server, err := service.Listen(ctx, p.log, listeners...)
	if err != nil {
		return err
	}
	jobs, stopJobs := context.WithCancel(context.WithoutCancel(ctx))
	defer stopJobs()
	var running sync.WaitGroup
	running.Go(func() { watch.run(jobs) })
	running.Go(func() { p.store.KeepMonthsAhead(jobs, time.Now) })
	running.Go(func() { handler.KeepRetention(jobs, config.Retention.Every.Duration) })
	if p.parked != nil {
		running.Go(func() { p.parked.Redrive(jobs, p.store) })
		running.Go(func() { handler.KeepMemory(jobs) })
	}
	err = server.Serve(ctx, watch.end, config.Shutdown.Drain.Duration, config.Shutdown.Grace.Duration)
	stopJobs()
	return errors.Join(err, awaitJobs(&running))
}

// parking is all that a service parks with.
type parking interface {
	datastorage.Overflow
	datastorage.Parking
}

func overflowOf(p parts) parking {
	if p.parked == nil {
		return datastorage.NoOverflow{}
	}
	return p.parked
}

func listenersOf(config Config, server *datastorage.Server) ([]service.Listener, error) {
	var certificate *tls.Config
	if config.TLS.Enabled() {
		var err error
		if certificate, err = service.ServerTLS(config.TLS); err != nil {
			return nil, err
		}
	}
	listeners := []service.Listener{{Name: "the contract", Address: config.Listen, TLS: certificate, Handler: server.Handler()}}
	if config.Operations != "" {
		listeners = append(listeners, service.Listener{Name: "operations", Address: config.Operations, Handler: server.Operations()})
	}
	return listeners, nil
}

// awaitJobs waits for the jobs, but not longer than there is time.
func awaitJobs(running *sync.WaitGroup) error {
	ended := make(chan struct{})
	go func() { running.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-time.After(jobsBudget):
		return fmt.Errorf("a job did not stop within %s; what it was doing is done again at the next start", jobsBudget)
	}
}
