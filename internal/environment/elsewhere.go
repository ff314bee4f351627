package environment

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"

	theirs "kubernaut.ai/kubernaut/internal/cluster/existing"
	"kubernaut.ai/kubernaut/internal/cluster/forward"
	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/upstream"
	"kubernaut.ai/kubernaut/internal/installation"
	"kubernaut.ai/kubernaut/internal/registry"
)

// found is what a cluster that is not ours has already.
type found struct {
	version string        // of Kubernetes
	tekton  bool          // it is installed: checked, never patched
	classes []plan.Object // storage classes, with the one that claims get which name none
}

// survey looks at an existing cluster, for the plan. Of a cluster of our own
// everything is known.
func (w *world) survey(ctx context.Context) (found, error) {
	switch w.options.Cluster {
	case Local:
		return found{version: kubernetesVersion}, nil
	case Kind:
		return found{version: kubernetesVersion, classes: []plan.Object{derive.DefaultStorageClass}}, nil
	}
	k, err := w.kube()
	if err != nil {
		return found{}, err
	}
	version, err := k.Core.Discovery().ServerVersion()
	if err != nil {
		return found{}, fmt.Errorf("asking the existing cluster for its version: %w", err)
	}
	f := found{version: version.GitVersion}
	if f.tekton, err = k.hasTekton(ctx); err != nil {
		return found{}, err
	}
	if f.classes, err = k.storageClasses(ctx); err != nil {
		return found{}, err
	}
	return f, w.registryAnswers(ctx)
}

func (k *kube) storageClasses(ctx context.Context) (all []plan.Object, err error) {
	classes, err := k.Core.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("looking for storage classes: %w", err)
	}
	for _, c := range classes.Items {
		all = append(all, plan.Object{Kind: "StorageClass", Name: c.Name})
		if c.Annotations["storageclass.kubernetes.io/is-default-class"] == "true" && !slices.Contains(all, derive.DefaultStorageClass) {
			all = append(all, derive.DefaultStorageClass)
		}
	}
	return all, nil
}

// withStorageHint adds to the refusal of a plan what to do when its claims would
// get no volume.
func (w *world) withStorageHint(refused error) error {
	wanted := derive.DefaultStorageClass
	if w.options.StorageClass != "" {
		wanted.Name = w.options.StorageClass
	}
	if refused == nil || w.options.Cluster != Existing || w.options.Ephemeral || slices.Contains(w.found.classes, wanted) {
		return refused
	}
	var names []string
	for _, o := range w.found.classes {
		if o != derive.DefaultStorageClass {
			names = append(names, o.Name)
		}
	}
	has := "no StorageClass"
	if len(names) > 0 {
		has = "the StorageClasses " + strings.Join(names, ", ")
	}
	return fmt.Errorf("%w\nthe cluster has %s: name one with --storage-class, or say --ephemeral, and what the databases keep goes with their pods", refused, has)
}

// kinds are those of all objects that the plan applies.
func (w *world) kinds(ctx context.Context) ([]apischema.GroupKind, error) {
	rendered, err := w.render(ctx)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(slices.Collect(maps.Values(rendered))...)
	if !w.found.tekton {
		tekton, err := w.tekton(nil)
		if err != nil {
			return nil, err
		}
		all = slices.Concat(all, tekton.definitions, tekton.programs)
	}
	seen := map[apischema.GroupKind]bool{}
	for _, u := range all {
		seen[u.GroupVersionKind().GroupKind()] = true
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b apischema.GroupKind) int { return strings.Compare(a.String(), b.String()) }), nil
}

// registryAnswers refuses a plan whose images could not be pushed anywhere.
// That the nodes trust it too is seen when the first of them pulls.
func (w *world) registryAnswers(ctx context.Context) error {
	options, err := w.registry(ctx)
	if err != nil {
		return err
	}
	_, err = registry.Resolve(ctx, w.options.registry()+"/kubernaut/none:none", options)
	if err == nil || registry.IsAbsent(err) {
		return nil
	}
	return fmt.Errorf("--registry %s cannot be used: %w", w.options.registry(), err)
}

// pushImages sends a group of images to the registry of an existing cluster.
func (w *world) pushImages(ctx context.Context, g imageGroup, say func(string)) error {
	options, err := w.registry(ctx)
	if err != nil {
		return err
	}
	for _, name := range g.images {
		r, err := recipe(name)
		if err != nil {
			return err
		}
		ref := w.made.reference(name)
		if there, err := registry.Resolve(ctx, ref, options); err == nil && there == w.made.get(name).Digest {
			continue
		}
		img, err := w.images.Image(ctx, r, say)
		if err != nil {
			return err
		}
		say("pushing " + ref)
		err = w.times.note(name, pushed, func() error {
			_, err := registry.Push(ctx, ref, img, options)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// login is what the user's container tools know about the registry; empty for
// one that asks nobody.
func (p Place) login() (authn.AuthConfig, error) {
	registry, err := name.NewRegistry(p.registryHost())
	if err != nil {
		return authn.AuthConfig{}, fmt.Errorf("--registry %q: %w", p.Registry, err)
	}
	found, err := authn.DefaultKeychain.Resolve(registry)
	if err != nil {
		return authn.AuthConfig{}, fmt.Errorf("looking for a login of registry %s: %w", registry, err)
	}
	config, err := found.Authorization()
	if err != nil {
		return authn.AuthConfig{}, fmt.Errorf("looking for a login of registry %s: %w", registry, err)
	}
	return *config, nil
}

// machineCAs are the certificates that this machine trusts.
const machineCAs = "/etc/ssl/certs/ca-certificates.crt"

// registryCA is who may sign the certificate of an existing cluster's registry.
func (p Place) registryCA() ([]byte, error) {
	path := p.RegistryCA
	if path == "" {
		path = machineCAs
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading who signs for the registry: %w", err)
	}
	return raw, nil
}

// theirRegistry is how the registry of an existing cluster is reached from here.
func (w *world) theirRegistry() (registry.Options, error) {
	p := w.options.Place
	login, loginErr := p.login()
	ca, caErr := p.registryCA()
	if err := errors.Join(loginErr, caErr); err != nil {
		return registry.Options{}, err
	}
	o := registry.Options{CA: ca, Credentials: registry.Credentials{Username: login.Username, Password: login.Password}}
	if forward.Names(p.registryHost()) {
		k, err := w.kube()
		if err != nil {
			return registry.Options{}, err
		}
		o.Dial = k.dial
	}
	return o, nil
}

// pullers are the namespaces whose pods pull from the registry of an existing
// cluster.
func (w *world) pullers() []string {
	all := []string{systemNamespace, workflowNamespace}
	if !w.found.tekton {
		all = append(all, upstream.TektonNamespace, upstream.ResolversNamespace)
	}
	return all
}

// theirPullSecrets let pods pull from the registry of an existing cluster.
func (w *world) theirPullSecrets() ([]*corev1.Secret, error) {
	login, err := w.options.login()
	if err != nil {
		return nil, err
	}
	var all []*corev1.Secret
	for _, namespace := range w.pullers() {
		secret, err := pullSecret(w.options.Place, login.Username, login.Password)
		if err != nil {
			return nil, err
		}
		secret.Namespace = namespace
		all = append(all, secret)
	}
	return all, nil
}

// uninstall takes Kubernaut's own objects out in order, before the rest of what
// the environment installed goes.
// leave removes what was installed in a cluster of others, within uninstalling.
func (w *world) leave(ctx context.Context, say func(string)) error {
	ctx, cancel := context.WithTimeout(ctx, uninstalling)
	defer cancel()
	if err := w.uninstall(ctx, say); err != nil {
		return err
	}
	c, err := w.anyCluster()
	if err != nil {
		return err
	}
	return c.Down(ctx)
}

func (w *world) uninstall(ctx context.Context, say func(string)) error {
	raw, err := w.kubeconfig(ctx)
	if err != nil {
		return err
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig(raw)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	removal := installation.Removal{Purge: true, Selector: theirs.OwnerLabel + "=" + w.options.Name}
	return installation.Remove(ctx, cfg, removal, say)
}

func (w *world) kubeconfig(ctx context.Context) ([]byte, error) {
	c, err := w.anyCluster()
	if err != nil {
		return nil, err
	}
	return c.Kubeconfig(ctx)
}
