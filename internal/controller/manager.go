package controller

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// leaseName is what replicas agree on who works by.
const leaseName = "kubernaut-controller"

// How the replicas agree. A leader that is stopped gives the lease back, and the next
// one takes it within retryPeriod; after one that was killed the lease has to run out.
// Neither is what keeps two from doing the same: the guarded writes are.
const (
	leaseDuration = 10 * time.Second
	renewDeadline = 7 * time.Second
	retryPeriod   = time.Second
)

// NewManager returns the manager of a cluster, with probes. The API server limits
// how much it is asked (priority and fairness); the client adds no limit. What is
// given in wraps goes around its client.
func NewManager(cluster *rest.Config, cfg Config, wraps ...func(client.Client) client.Client) (ctrl.Manager, error) {
	cluster = rest.CopyConfig(cluster)
	cluster.QPS = -1
	lock, err := electionLock(cluster, cfg)
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(cluster, ctrl.Options{
		Scheme:         Scheme(),
		Cache:          CacheOptions(),
		MapperProvider: mapper,
		NewClient: func(to *rest.Config, options client.Options) (client.Client, error) {
			c, err := client.New(to, options)
			for _, wrap := range wraps {
				c = wrap(c)
			}
			return c, err
		},
		Metrics:                metricsserver.Options{BindAddress: cfg.MetricsAddress},
		HealthProbeBindAddress: cfg.ProbeAddress,
		LeaderElection:         cfg.LeaderElection,

		LeaderElectionResourceLockInterface: lock,
		LeaderElectionID:                    leaseName,
		LeaderElectionNamespace:             v1alpha1.SystemNamespace,
		LeaderElectionReleaseOnCancel:       true,
		LeaseDuration:                       new(leaseDuration),
		RenewDeadline:                       new(renewDeadline),
		RetryPeriod:                         new(retryPeriod),
		Controller: config.Controller{
			SkipNameValidation:    new(true), // several managers may live in one process
			ReconciliationTimeout: workPatience,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("caches", func(req *http.Request) error {
		if !mgr.GetCache().WaitForCacheSync(req.Context()) {
			return fmt.Errorf("the caches are not filled yet")
		}
		return nil
	})
}

// warm fills the caches of some kinds as soon as the manager starts: who waits to
// lead has them filled already. Its controllers do not begin to listen before that:
// what they heard would only pile up.
func warm(ctx context.Context, mgr ctrl.Manager, kinds ...client.Object) error {
	for _, kind := range kinds {
		if _, err := mgr.GetCache().GetInformer(ctx, kind, cache.BlockUntilSynced(false)); err != nil {
			return fmt.Errorf("watching %T: %w", kind, err)
		}
	}
	return nil
}

// electionLock is the lease under a name that stays the same when the process starts
// again in its pod: it then goes on at once. Without a name the manager draws one.
func electionLock(cluster *rest.Config, cfg Config) (resourcelock.Interface, error) {
	if !cfg.LeaderElection || cfg.Identity == "" {
		return nil, nil
	}
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, v1alpha1.SystemNamespace, leaseName,
		resourcelock.ResourceLockConfig{Identity: cfg.Identity}, cluster, renewDeadline)
	if err != nil {
		return nil, fmt.Errorf("making a client for the leader's lease: %w", err)
	}
	return lock, nil
}

// DataStorage returns a client of Data Storage. What fails is sent again by the
// next reconcile, so the client itself tries only twice.
func DataStorage(cfg DataStorageConfig) (*datastorage.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if cfg.CAFile != "" {
		raw, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("dataStorage.caFile: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("dataStorage.caFile: %s holds no certificate", cfg.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	c, err := datastorage.New(cfg.URL, &http.Client{Transport: transport}, tokenFrom(cfg.TokenFile))
	if err != nil {
		return nil, err
	}
	c.Attempts = 2
	return c, nil
}

func tokenFrom(path string) datastorage.TokenSource {
	if path == "" {
		return nil
	}
	return func(context.Context) (string, error) {
		raw, err := os.ReadFile(path)
		return strings.TrimSpace(string(raw)), err
	}
}
