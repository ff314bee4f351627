package servers

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/build"
)

// Kube is one running kube-apiserver with its etcd, with the kinds of Kubernaut
// and of Tekton but nothing that acts on them.
type Kube struct {
	Config *rest.Config // as an administrator
	env    *envtest.Environment
	// withheld are kinds that it does not have yet.
	withheld []*apiextensionsv1.CustomResourceDefinition
}

// APIServer starts a kube-apiserver for one test and returns how to reach it as an
// administrator.
func APIServer(t testing.TB) *rest.Config {
	t.Helper()
	needs(t, "kube-apiserver and etcd")
	kube, err := StartAPIServer()
	must(t, err)
	t.Cleanup(func() { must(t, kube.Stop()) })
	return kube.Config
}

// StartAPIServer starts a kube-apiserver that several tests share; whoever starts
// it stops it.
func StartAPIServer(flags ...string) (*Kube, error) {
	return start(&envtest.Etcd{}, nil, flags)
}

// StartAPIServerWithoutTekton starts one that does not have Tekton's kinds yet.
func StartAPIServerWithoutTekton() (*Kube, error) {
	return start(&envtest.Etcd{}, isTektons, nil)
}

func isTektons(crd *apiextensionsv1.CustomResourceDefinition) bool {
	return strings.HasSuffix(crd.Spec.Group, "tekton.dev")
}

// InstallWithheld adds the kinds that a server was started without.
func (k *Kube) InstallWithheld() error {
	_, err := envtest.InstallCRDs(k.Config, envtest.CRDInstallOptions{CRDs: k.withheld, MaxTime: time.Minute})
	return err
}

// StartDurableAPIServer starts one whose etcd waits for the disk, as in production:
// for measures.
func StartDurableAPIServer(flags ...string) (*Kube, error) {
	etcd := &envtest.Etcd{}
	etcd.Configure().Disable("unsafe-no-fsync")
	return start(etcd, nil, flags)
}

func start(etcd *envtest.Etcd, without func(*apiextensionsv1.CustomResourceDefinition) bool, flags []string) (*Kube, error) {
	cache, err := build.Open()
	if err != nil {
		return nil, err
	}
	assets, err := build.Assets(cache)
	if err != nil {
		return nil, err
	}
	crds, err := kinds(cache.Source)
	if err != nil {
		return nil, err
	}
	var withheld []*apiextensionsv1.CustomResourceDefinition
	if without != nil {
		withheld = slices.DeleteFunc(slices.Clone(crds), func(crd *apiextensionsv1.CustomResourceDefinition) bool { return !without(crd) })
		crds = slices.DeleteFunc(crds, without)
	}
	env := &envtest.Environment{
		BinaryAssetsDirectory: assets, CRDs: crds,
		ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Minute, // a busy machine is slow, not broken
	}
	env.ControlPlane.Etcd = etcd
	arguments := env.ControlPlane.GetAPIServer().Configure()
	for _, flag := range flags {
		name, value, _ := strings.Cut(flag, "=")
		arguments.Append(name, value)
	}
	if _, err := guard(); err != nil {
		return nil, err
	}
	cfg, err := env.Start()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting kube-apiserver: %w", err), env.Stop())
	}
	cfg.QPS = -1
	return &Kube{Config: cfg, env: env, withheld: withheld}, nil
}

// Stop ends the servers.
func (k *Kube) Stop() error { return k.env.Stop() }

// kinds are the CRDs of Kubernaut and of Tekton.
func kinds(checkout string) ([]*apiextensionsv1.CustomResourceDefinition, error) {
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tektoncd/pipeline")
	list.Dir = checkout
	var stderr bytes.Buffer
	list.Stderr = &stderr
	tekton, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("finding Tekton's module: %w: %s", err, stderr.String())
	}
	var all []*apiextensionsv1.CustomResourceDefinition
	for _, pattern := range []string{
		filepath.Join(checkout, "charts", "kubernaut", "crds", "*.yaml"),
		filepath.Join(strings.TrimSpace(string(tekton)), "config", "300-crds", "*.yaml"),
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("no CRDs at %s: %w", pattern, err)
		}
		for _, file := range files {
			crd, err := readKind(file)
			if err != nil {
				return nil, err
			}
			all = append(all, crd)
		}
	}
	return all, nil
}

func readKind(file string) (*apiextensionsv1.CustomResourceDefinition, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(raw, crd); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	crd.Spec.Conversion = nil // no webhook runs here, and only the stored version is used
	return crd, nil
}
