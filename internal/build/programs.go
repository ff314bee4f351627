package build

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Program is something `go build` can make from the checkout.
type Program struct {
	Name    string   // its file name, and its folder in the cache
	Module  string   // folder of its go.mod below the checkout, "." for ours
	Package string   // what to build, as seen from Module
	LDFlags []string // for the linker, beside -s -w
}

// The programs of the environment. Those of other projects are pinned by the
// go.mod of their folder below node/.
var (
	// Kubernetes is etcd, kube-apiserver, kube-controller-manager,
	// kube-scheduler, kubelet, kube-proxy and kubectl, chosen by argv[0].
	Kubernetes = Program{
		Name: "kubernetes", Module: "node/kubernetes", Package: ".",
		LDFlags: []string{
			"-X k8s.io/component-base/version.gitVersion=v1.37.2",
			"-X k8s.io/component-base/version.gitMajor=1",
			"-X k8s.io/component-base/version.gitMinor=37",
		},
	}
	// Kubectl alone, for images: a quarter of Kubernetes' size.
	Kubectl = Program{
		Name: "kubectl", Module: "node/kubernetes", Package: "k8s.io/kubernetes/cmd/kubectl",
		LDFlags: Kubernetes.LDFlags,
	}
	Containerd     = containerd("containerd")
	ContainerdShim = containerd("containerd-shim-runc-v2")
	Ctr            = containerd("ctr")
	CoreDNS        = Program{Name: "coredns", Module: "node/coredns", Package: "."}
	Registry       = Program{
		Name: "registry", Module: "node/registry",
		Package: "github.com/distribution/distribution/v3/cmd/registry",
	}

	Controller  = ours("controller", "./cmd/controller")
	DataStorage = ours("datastorage", "./cmd/datastorage")
	CLI         = ours("kubernaut", "./cmd/kubernaut")
	Pause       = ours("pause", "./node/pause")
)

// All lists every program an environment needs, in the order in which they are
// best built: what starts the cluster first, and what shares its packages with
// an earlier one after that.
func All() []Program {
	all := []Program{Kubernetes, Containerd, ContainerdShim, Ctr, Pause, CoreDNS, Registry, Controller, DataStorage, Kubectl}
	for _, command := range []string{
		"controller", "webhook", "resolvers", "events", "entrypoint", "nop", "sidecarlogresults", "workingdirinit",
	} {
		all = append(all, Tekton(command))
	}
	return all
}

// Tekton is one of Tekton's commands: controller, entrypoint, events, nop,
// resolvers, sidecarlogresults, webhook or workingdirinit.
func Tekton(command string) Program {
	return Program{
		Name: "tekton-" + command, Module: "node/tekton",
		Package: "github.com/tektoncd/pipeline/cmd/" + command,
	}
}

func containerd(command string) Program {
	return Program{
		Name: command, Module: "node/containerd",
		Package: "github.com/containerd/containerd/v2/cmd/" + command,
		LDFlags: []string{"-X github.com/containerd/containerd/v2/version.Version=v2.4.2"},
	}
}

func ours(name, pkg string) Program { return Program{Name: name, Module: ".", Package: pkg} }

// Assets returns a folder that controller-runtime's envtest can use as
// KUBEBUILDER_ASSETS: etcd, kube-apiserver and kubectl, all links to the built
// Kubernetes. It builds nothing; when Kubernetes is not in the cache the error
// says how to get it.
func Assets(c Cache) (dir string, err error) {
	program, ok := c.Lookup(Kubernetes)
	if !ok {
		return "", fmt.Errorf("kubernetes is not built from the present sources: run `make build`, then `bin/kubernaut env build`, which puts it into %s", c.Dir)
	}
	dir = filepath.Join(filepath.Dir(program), "envtest")
	return dir, Links(dir, program, "etcd", "kube-apiserver", "kubectl")
}

// Links makes symbolic links in dir, one for each name, that lead to program.
// A link that leads elsewhere is replaced in one step.
func Links(dir, program string, names ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("linking %s: %w", program, err)
	}
	for _, name := range names {
		link := filepath.Join(dir, name)
		if to, err := os.Readlink(link); err == nil && to == program {
			continue
		}
		aside := fmt.Sprintf("%s.%d", link, os.Getpid())
		if err := os.Symlink(program, aside); err != nil {
			return fmt.Errorf("linking %s: %w", strings.Join(names, ", "), err)
		}
		if err := os.Rename(aside, link); err != nil {
			return fmt.Errorf("linking %s: %w", strings.Join(names, ", "), err)
		}
	}
	return nil
}
