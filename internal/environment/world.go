package environment

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/cluster/forward"
	"kubernaut.ai/kubernaut/internal/cluster/local"
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

	cluster   func() (*local.Cluster, error)
	authority func() (*pki.Authority, error)
	kube      func() (*kube, error)
	manifests func() (objects, error) // Tekton's, as they are in its module
}

// kube is the environment's API server.
type kube struct {
	*readiness.Cluster
	dial    forward.DialFunc
	applied *ledger
}

// newWorld is for bringing an environment up: it needs the checkout.
func newWorld(o Options) (*world, error) {
	cache, err := build.Open()
	if err != nil {
		return nil, err
	}
	return worldOf(cache, o), nil
}

// existing is for looking at an environment or ending it: it works anywhere on
// the machine.
func existing(o Options) (*world, error) {
	dir, err := build.Dir()
	if err != nil {
		return nil, err
	}
	return worldOf(build.Cache{Dir: dir}, o), nil
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

func (w *world) newCluster() (*local.Cluster, error) {
	ca, err := w.authority()
	if err != nil {
		return nil, err
	}
	return local.New(w.cache, local.Options{
		Name: w.options.Name, Port: w.options.Port, Checked: true, Keep: w.options.Keep,
		Registry: &local.Registry{Host: registryService.address(), Address: registryAddress, CA: ca.Cert},
	})
}

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
	return newKube(cfg, w.dir("applied.json"))
}

// newKube connects to an API server; what is applied there is noted in the file.
func newKube(cfg *rest.Config, notes string) (*kube, error) {
	cluster, err := readiness.New(cfg)
	if err != nil {
		return nil, err
	}
	return &kube{Cluster: cluster, dial: forward.Dialer(cfg), applied: openLedger(notes)}, nil
}

// archives are the images made in this run, by name.
type archives struct {
	mu     sync.Mutex
	byName map[string]image.Archive
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
	if made := a.get(name); made.Reference != "" {
		return made.Reference
	}
	return image.Host + "/" + name + ":planned"
}
