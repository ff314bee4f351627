package environment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	apischema "k8s.io/apimachinery/pkg/runtime/schema"

	"kubernaut.ai/kubernaut/internal/cluster"
	theirs "kubernaut.ai/kubernaut/internal/cluster/existing"
	"kubernaut.ai/kubernaut/internal/cluster/kind"
	"kubernaut.ai/kubernaut/internal/cluster/local"
)

// The kinds of clusters an environment can run in.
const (
	Local    = "local"    // a node of our own, without a container engine
	Kind     = "kind"     // nodes in Docker or Podman
	Existing = "existing" // whatever a kubeconfig leads to
)

// Place is where an environment runs. It is kept with the environment, so that
// later commands need not be told again.
type Place struct {
	Cluster    string `json:"cluster,omitempty"`    // Local, Kind or Existing; empty: as before, else Local
	Kubeconfig string `json:"kubeconfig,omitempty"` // of an existing cluster: a path; empty: as kubectl finds it
	Context    string `json:"context,omitempty"`    // in it; empty: its current one
	Registry   string `json:"registry,omitempty"`   // for an existing cluster: host or host/path its nodes pull from
	RegistryCA string `json:"registryCA,omitempty"` // file with the CA of that registry; empty: those of the machine

	StorageClass string `json:"storageClass,omitempty"` // of an existing cluster; empty: its default one
	Ephemeral    bool   `json:"ephemeral,omitempty"`    // instead: what the databases keep goes with their pods
	NodeImage    string `json:"nodeImage,omitempty"`    // of the nodes of kind; empty: the one of kind's release
}

// check refuses what cannot work, before anything is looked at.
func (p Place) check() error {
	if p.NodeImage != "" && p.Cluster != Kind {
		return fmt.Errorf("--node-image is for --cluster %s: a %s cluster has no node that is made from an image", Kind, p.Cluster)
	}
	switch p.Cluster {
	case Local, Kind:
		if p.Kubeconfig != "" || p.Context != "" || p.Registry != "" || p.RegistryCA != "" {
			return fmt.Errorf("--kubeconfig, --context, --registry and --registry-ca are for --cluster %s; a cluster of kind %s has its own registry", Existing, p.Cluster)
		}
		if p.StorageClass != "" || p.Ephemeral {
			return fmt.Errorf("--storage-class and --ephemeral are for --cluster %s; a cluster of kind %s has its own volumes", Existing, p.Cluster)
		}
	case Existing:
		if p.Registry == "" {
			return fmt.Errorf("--cluster %s needs --registry: the nodes of a cluster that is not ours get images only from a registry that they reach and trust, for example --registry registry.example.com/kubernaut", Existing)
		}
		if strings.Contains(p.Registry, "://") || strings.HasSuffix(p.Registry, "/") {
			return fmt.Errorf("--registry %q: write host[:port] or host[:port]/path, as in image references", p.Registry)
		}
		if p.StorageClass != "" && p.Ephemeral {
			return errors.New("--storage-class and --ephemeral exclude each other: data is kept, or it goes with the pods")
		}
	default:
		return fmt.Errorf("--cluster %q: it is one of %s, %s, %s", p.Cluster, Local, Kind, Existing)
	}
	return nil
}

// ownsCluster tells whether the cluster is made and ended with the environment.
func (p Place) ownsCluster() bool { return p.Cluster != Existing }

// registry is the host, with a path where there is one, that workflows and
// their images are pushed to.
func (p Place) registry() string {
	if p.Registry != "" {
		return p.Registry
	}
	return registryService.address()
}

// registryHost is the part of registry that one connects to.
func (p Place) registryHost() string {
	host, _, _ := strings.Cut(p.registry(), "/")
	return host
}

func (w *world) placeFile() string { return w.dir("place.json") }

// settlePlace compares the place asked for with that of the environment as it
// is, and takes over what was not said.
func (w *world) settlePlace() error {
	asked := w.options.Place
	var known Place
	raw, err := os.ReadFile(w.placeFile())
	if err == nil {
		err = json.Unmarshal(raw, &known)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		if asked.Cluster == "" {
			asked.Cluster = Local
		}
		w.options.Place = asked
		return nil
	case err != nil:
		return fmt.Errorf("reading where environment %s runs: %w", w.options.Name, err)
	}
	if asked.RegistryCA != "" { // it may be renewed
		known.RegistryCA = asked.RegistryCA
	}
	if asked.NodeImage != "" && known.Cluster == Kind && !w.kindThere().Made() { // as after one that could not be pulled
		known.NodeImage = asked.NodeImage
	}
	w.options.Place = known
	if asked.elsewhere(known) {
		return fmt.Errorf("environment %s runs elsewhere already (%s): remove it first with `kubernaut env down --name %s`, or give this one another --name", w.options.Name, known, w.options.Name)
	}
	return nil
}

// elsewhere tells whether p is another place than the known one. Where nothing is
// said of it, it is the same.
func (p Place) elsewhere(known Place) bool {
	if p.RegistryCA = known.RegistryCA; p == (Place{RegistryCA: known.RegistryCA}) {
		return false
	}
	return p.Cluster != "" && p.Cluster != known.Cluster || p.Registry != known.Registry || p.Context != known.Context || p.Kubeconfig != known.Kubeconfig ||
		p.StorageClass != known.StorageClass || p.Ephemeral != known.Ephemeral || p.NodeImage != "" && p.NodeImage != known.NodeImage
}

// String says the place in words.
func (p Place) String() string {
	text := "cluster " + p.Cluster
	if p.Context != "" {
		text += ", context " + p.Context
	}
	if p.Registry != "" {
		text += ", registry " + p.Registry
	}
	if p.StorageClass != "" {
		text += ", storage class " + p.StorageClass
	}
	if p.Ephemeral {
		text += ", ephemeral"
	}
	if p.NodeImage != "" {
		text += ", node image " + p.NodeImage
	}
	return text
}

// keepPlace remembers the place for later commands.
func (w *world) keepPlace() error {
	raw, err := json.MarshalIndent(w.options.Place, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(w.dir(), 0o755); err != nil {
		return fmt.Errorf("keeping where environment %s runs: %w", w.options.Name, err)
	}
	aside := w.placeFile() + ".new"
	if err := errors.Join(os.WriteFile(aside, raw, 0o644), os.Rename(aside, w.placeFile())); err != nil {
		return fmt.Errorf("keeping where environment %s runs: %w", w.options.Name, err)
	}
	return nil
}

// newCluster is the cluster for bringing it up: it may make certificates.
func (w *world) newCluster() (cluster.Cluster, error) {
	if w.options.Cluster == Existing {
		kinds, err := w.kinds(context.Background()) // reads files
		if err != nil {
			return nil, err
		}
		return w.theirs(kinds...)
	}
	ca, err := w.authority()
	if err != nil {
		return nil, err
	}
	host := registryService.address()
	if w.options.Cluster == Kind {
		return kind.New(kind.Options{
			Name: w.options.Name, Port: w.options.Port, Dir: w.dir("kind"), Image: w.options.NodeImage, Keep: w.options.Keep, AuditLog: w.options.AuditLog,
			Registry: kind.Registry{Host: host, Address: registryAddress, CA: ca.Cert},
		}), nil
	}
	return local.New(w.cache, local.Options{
		Name: w.options.Name, Port: w.options.Port, Checked: true, Keep: w.options.Keep, AuditLog: w.options.AuditLog,
		Registry: &local.Registry{Host: host, Address: registryAddress, CA: ca.Cert},
	})
}

// anyCluster is the environment's cluster for looking at it or ending it: it
// asks for no certificate, and makes none.
func (w *world) anyCluster() (cluster.Cluster, error) {
	switch w.options.Cluster {
	case Kind:
		return w.kindThere(), nil
	case Existing:
		return w.theirs()
	}
	return local.New(w.cache, local.Options{Name: w.options.Name})
}

// kindThere is the cluster of kind for looking at it or ending it.
func (w *world) kindThere() *kind.Cluster {
	return kind.New(kind.Options{Name: w.options.Name, Dir: w.dir("kind")})
}

func (w *world) theirs(kinds ...apischema.GroupKind) (cluster.Cluster, error) {
	p := w.options.Place
	return theirs.New(theirs.Options{Kubeconfig: p.Kubeconfig, Context: p.Context, Owner: w.options.Name, Kinds: kinds})
}
