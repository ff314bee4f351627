package environment

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/cluster"
	"kubernaut.ai/kubernaut/internal/cluster/forward"
	"kubernaut.ai/kubernaut/internal/environment/readiness"
	"kubernaut.ai/kubernaut/internal/image"
	"kubernaut.ai/kubernaut/internal/pki"
)

// world is what the components of one environment share.
type world struct {
	options Options
	cache   build.Cache
	images  image.Store
	made    archives
	times   imageTimes

	found found // what was there already

	cluster   func() (cluster.Cluster, error)
	authority func() (*pki.Authority, error)
	kube      func() (*kube, error)
	manifests func() (objects, error) // Tekton's, as they are in its module
}

// kube is the environment's API server.
type kube struct {
	*readiness.Cluster
	dial    forward.DialFunc
	applied *ledger
	owner   string // of a cluster that is not ours: only what carries its label is changed
}

// newWorld is for bringing an environment up: it needs the checkout.
func newWorld(o Options) (*world, error) {
	cache, err := build.Open()
	if err != nil {
		return nil, err
	}
	w := worldOf(cache, o)
	if err := w.settlePlace(); err != nil {
		return nil, err
	}
	w.made.registry = w.options.Registry
	return w, w.options.check()
}

// existing is for looking at an environment or ending it: it works anywhere on
// the machine.
func existing(o Options) (*world, error) {
	dir, err := build.Dir()
	if err != nil {
		return nil, err
	}
	w := worldOf(build.Cache{Dir: dir}, o)
	return w, w.settlePlace()
}

func worldOf(cache build.Cache, o Options) *world {
	if o.Name == "" {
		o.Name = DefaultName
	}
	w := &world{
		options: o, cache: cache,
		images: image.Store{Dir: filepath.Join(cache.Dir, "images"), Programs: cache},
		made:   archives{byName: map[string]image.Archive{}},
	}
	w.authority = sync.OnceValues(func() (*pki.Authority, error) { return w.certificates().Authority("services") })
	w.cluster = sync.OnceValues(w.newCluster)
	w.kube = sync.OnceValues(w.connect)
	w.manifests = sync.OnceValues(w.readTekton)
	return w
}

// dir is the folder of this environment's state.
func (w *world) dir(parts ...string) string {
	return filepath.Join(append([]string{w.cache.Dir, "env", w.options.Name}, parts...)...)
}

func (w *world) certificates() pki.Store { return pki.Store{Dir: w.dir("pki"), Now: time.Now()} }

// ledgerFile is the file of the ledger in the folder of an environment.
const ledgerFile = "applied.json"

// connect may be called once the cluster is up.
func (w *world) connect() (*kube, error) {
	c, err := w.anyCluster()
	if err != nil {
		return nil, err
	}
	raw, err := c.Kubeconfig(context.Background()) // reads files
	if err != nil {
		return nil, err
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's kubeconfig: %w", err)
	}
	k, err := newKube(cfg, w.dir(ledgerFile))
	if err == nil && !w.options.ownsCluster() {
		k.owner = w.options.Name
	}
	return k, err
}

// newKube connects to an API server; what is applied there is noted in the file.
func newKube(cfg *rest.Config, notes string) (*kube, error) {
	reached, err := readiness.New(cfg)
	if err != nil {
		return nil, err
	}
	return &kube{Cluster: reached, dial: forward.Dialer(cfg), applied: openLedger(notes)}, nil
}

// archives are the images made in this run, by name.
type archives struct {
	registry string // that they are pushed to; empty: they are loaded into nodes
	mu       sync.Mutex
	byName   map[string]image.Archive
}

func (a *archives) put(name string, made image.Archive) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.byName[name] = made
}

func (a *archives) get(name string) image.Archive {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byName[name]
}

// reference is the full reference of an image, or, before it is made, one that
// only says its name: enough to plan with.
func (a *archives) reference(name string) string {
	if made := a.get(name); made.Reference != "" && a.registry != "" {
		return a.registry + strings.TrimPrefix(made.Reference, image.Host)
	} else if made.Reference != "" {
		return made.Reference
	}
	return image.Host + "/" + name + ":planned"
}
