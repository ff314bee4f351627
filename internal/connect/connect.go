// Package connect reaches the cluster a command works on, and what runs in it.
package connect

import (
	"context"
	"fmt"
	"os"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cluster/forward"
)

// Options choose a cluster the way kubectl does, with one addition: where
// nothing is said, a running local environment comes first.
type Options struct {
	Kubeconfig string // a path; empty: see Open
	Context    string // of the kubeconfig; empty: its current one
	Namespace  string // empty: the context's

	// Dial opens connections to Services in the cluster; nil: through the API server.
	Dial forward.DialFunc

	// LocalOnly takes the local environment whatever else is set.
	LocalOnly bool
	// Local returns the kubeconfig and the name of a running local environment,
	// and an empty one when there is none.
	Local func(ctx context.Context) (kubeconfig []byte, name string, err error)
}

// Cluster is a cluster that can be asked.
type Cluster struct {
	Config    *rest.Config
	Namespace string // of the executions
	Source    string // where Config comes from, in words

	Client client.WithWatch     // typed objects
	Core   kubernetes.Interface // logs and tokens
	Dial   forward.DialFunc     // Services in the cluster
}

// Scheme knows every kind of object a command reads or writes.
var Scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	utilruntime.Must(tekton.AddToScheme(s))
	return s
}()

// Open finds the cluster: the kubeconfig that is named, else $KUBECONFIG, else
// that of a running local environment, else ~/.kube/config. It sends nothing.
func Open(ctx context.Context, o Options) (*Cluster, error) {
	loader, source, err := choose(ctx, o)
	if err != nil {
		return nil, err
	}
	cfg, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("no cluster to work on: %w; start one with: kubernaut env up", err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, fmt.Errorf("reading the namespace of %s: %w", source, err)
	}
	c, err := New(cfg, namespace, source)
	if err == nil && o.Dial != nil {
		c.Dial = o.Dial
	}
	return c, err
}

// New returns the cluster behind cfg.
func New(cfg *rest.Config, namespace, source string) (*Cluster, error) {
	ctrllog.SetLogger(logr.Discard()) // errors are returned; without a logger the library complains after a while
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = "kubernaut"
	cfg.QPS, cfg.Burst = 50, 100
	cfg.WarningHandler = rest.NoWarnings{}
	objects, err := client.NewWithWatch(cfg, client.Options{Scheme: Scheme})
	if err != nil {
		return nil, fmt.Errorf("preparing the client of %s: %w", source, err)
	}
	core, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("preparing the client of %s: %w", source, err)
	}
	if namespace == "" {
		namespace = corev1.NamespaceDefault
	}
	return &Cluster{
		Config: cfg, Namespace: namespace, Source: source,
		Client: objects, Core: core, Dial: forward.Dialer(cfg),
	}, nil
}

func choose(ctx context.Context, o Options) (clientcmd.ClientConfig, string, error) {
	overrides := &clientcmd.ConfigOverrides{CurrentContext: o.Context}
	overrides.Context.Namespace = o.Namespace
	unsaid := o.Kubeconfig == "" && o.Context == "" && os.Getenv(clientcmd.RecommendedConfigPathEnvVar) == ""
	if o.Local != nil && (unsaid || o.LocalOnly) {
		raw, name, err := o.Local(ctx)
		if err != nil {
			return nil, "", err
		}
		if raw != nil {
			config, err := clientcmd.Load(raw)
			if err != nil {
				return nil, "", fmt.Errorf("reading the kubeconfig of the local environment %s: %w", name, err)
			}
			return clientcmd.NewDefaultClientConfig(*config, overrides), fmt.Sprintf("local environment %q", name), nil
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	source, err := describe(loader, rules, o.Context)
	return loader, source, err
}

// describe names the context and the file it comes from.
func describe(loader clientcmd.ClientConfig, rules *clientcmd.ClientConfigLoadingRules, context string) (string, error) {
	raw, err := loader.RawConfig()
	if err != nil {
		return "", fmt.Errorf("reading the kubeconfig: %w", err)
	}
	if context == "" {
		context = raw.CurrentContext
	}
	file := rules.GetDefaultFilename()
	if c, ok := raw.Contexts[context]; ok {
		file = c.LocationOfOrigin
	}
	return fmt.Sprintf("context %q of %s", context, file), nil
}
