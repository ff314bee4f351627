// Package kind is a cluster whose nodes are containers of Docker or Podman. The
// library of sigs.k8s.io/kind does the work; here is what an environment adds:
// a registry that the nodes trust, images from archives, and a kubeconfig that
// stays out of the user's own.
package kind

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	kindcluster "sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"

	"kubernaut.ai/kubernaut/internal/cluster"
)

// Registry is a registry in the cluster, which the nodes reach by an address:
// they do not ask the cluster's DNS.
type Registry struct {
	Host    string // as in image references: "registry.example.svc:5000"
	Address string // the Service's fixed address
	CA      []byte // PEM
}

// Options say which cluster is meant and what it should be like.
type Options struct {
	Name     string
	Port     int    // loopback port of the API server; 0: a free one
	Dir      string // for files that the nodes are shown
	Registry Registry
}

// Cluster is one cluster. Everything about it is known to the engine.
type Cluster struct {
	options Options
}

var _ cluster.Cluster = (*Cluster)(nil)

// New returns the cluster of that name. It looks at nothing and starts nothing.
func New(o Options) (*Cluster, error) { return &Cluster{options: o}, nil }

func (c *Cluster) name() string       { return "kubernaut-" + c.options.Name }
func (c *Cluster) kubeconfig() string { return filepath.Join(c.options.Dir, "kubeconfig") }

// engine finds Docker or Podman.
func engine() (*kindcluster.Provider, error) {
	found, err := kindcluster.DetectNodeProvider()
	if err != nil {
		return nil, fmt.Errorf("kind needs a container engine, and neither docker nor podman answers: %w; start one, or take --cluster local, which needs none", err)
	}
	return kindcluster.NewProvider(found), nil
}

// Up makes the cluster unless it is there, and waits until its node is ready.
func (c *Cluster) Up(ctx context.Context, say func(note string)) error {
	provider, err := engine()
	if err != nil {
		return err
	}
	there, err := c.exists(provider)
	if err != nil {
		return err
	}
	if there {
		if status, err := c.Status(ctx); err == nil && status.State == cluster.Ready {
			return nil
		}
		say("removing the cluster that an earlier attempt left half-made")
		if err := provider.Delete(c.name(), c.kubeconfig()); err != nil {
			return fmt.Errorf("removing kind cluster %s: %w", c.name(), err)
		}
	}
	if err := c.writeTrust(); err != nil {
		return err
	}
	say("making kind cluster " + c.name())
	return c.create(ctx, provider)
}

// create runs where ctx cannot reach: whoever interrupts goes, and the next Up
// finds what became of it.
func (c *Cluster) create(ctx context.Context, provider *kindcluster.Provider) error {
	done := make(chan error, 1)
	go func() {
		done <- provider.Create(c.name(), kindcluster.CreateWithV1Alpha4Config(c.config()),
			kindcluster.CreateWithKubeconfigPath(c.kubeconfig()), kindcluster.CreateWithWaitForReady(3*time.Minute))
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-done:
		if err != nil {
			return fmt.Errorf("making kind cluster %s: %w", c.name(), err)
		}
		return nil
	}
}

// trustFolder is where containerd in the nodes looks for how to reach registries.
const trustFolder = "/etc/containerd/certs.d"

// config is one node that trusts the registry.
func (c *Cluster) config() *v1alpha4.Cluster {
	return &v1alpha4.Cluster{
		TypeMeta:   v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"},
		Networking: v1alpha4.Networking{APIServerAddress: "127.0.0.1", APIServerPort: int32(c.options.Port)},
		Nodes: []v1alpha4.Node{{
			Role:        v1alpha4.ControlPlaneRole,
			ExtraMounts: []v1alpha4.Mount{{HostPath: c.trust(), ContainerPath: trustFolder, Readonly: true}},
		}},
		ContainerdConfigPatches: []string{
			"[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"" + trustFolder + "\"\n",
		},
	}
}

func (c *Cluster) trust() string { return filepath.Join(c.options.Dir, "certs.d") }

// writeTrust tells the nodes' containerd at which address the registry is, and
// who signs for it.
func (c *Cluster) writeTrust() error {
	r := c.options.Registry
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		return fmt.Errorf("registry %q: %w", r.Host, err)
	}
	dir := filepath.Join(c.trust(), r.Host)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	inside := trustFolder + "/" + r.Host + "/ca.crt"
	hosts := fmt.Sprintf("server = \"https://%s\"\n\n[host.\"https://%s:%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = %q\n", r.Host, r.Address, port, inside)
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(hosts), 0o644),
		os.WriteFile(filepath.Join(dir, "ca.crt"), r.CA, 0o644),
	)
}

func (c *Cluster) exists(provider *kindcluster.Provider) (bool, error) {
	names, err := provider.List()
	if err != nil {
		return false, fmt.Errorf("asking the container engine for kind clusters: %w", err)
	}
	return slices.Contains(names, c.name()), nil
}

// Down removes the nodes.
func (c *Cluster) Down(context.Context) error {
	provider, err := engine()
	if err != nil {
		return err
	}
	if err := provider.Delete(c.name(), c.kubeconfig()); err != nil {
		return fmt.Errorf("removing kind cluster %s: %w", c.name(), err)
	}
	return os.RemoveAll(c.options.Dir)
}

// Status asks the engine for the cluster and the cluster for its node.
func (c *Cluster) Status(ctx context.Context) (cluster.Status, error) {
	provider, err := engine()
	if err != nil {
		return cluster.Status{}, err
	}
	there, err := c.exists(provider)
	if err != nil || !there {
		return cluster.Status{State: cluster.Absent}, err
	}
	status := cluster.Status{State: cluster.Starting}
	raw, err := c.Kubeconfig(ctx)
	if err != nil {
		status.Problem = err.Error()
		return status, nil
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig(raw)
	if err != nil {
		return status, err
	}
	status.Server, cfg.Timeout = cfg.Host, 5*time.Second
	core, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return status, err
	}
	nodes, err := core.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	switch {
	case err != nil:
		status.Problem = err.Error()
	case !slices.ContainsFunc(nodes.Items, ready):
		status.Problem = "its node is not ready"
	default:
		status.State = cluster.Ready
	}
	return status, nil
}

func ready(n corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// Kubeconfig is for the administrator, from this machine.
func (c *Cluster) Kubeconfig(context.Context) ([]byte, error) {
	provider, err := engine()
	if err != nil {
		return nil, err
	}
	raw, err := provider.KubeConfig(c.name(), false)
	if err != nil {
		return nil, fmt.Errorf("asking kind cluster %s for its kubeconfig: %w", c.name(), err)
	}
	return []byte(raw), nil
}

// LoadImage gives every node the archive's images.
func (c *Cluster) LoadImage(_ context.Context, archive string) error {
	provider, err := engine()
	if err != nil {
		return err
	}
	nodes, err := provider.ListInternalNodes(c.name())
	if err != nil {
		return fmt.Errorf("loading %s: %w", archive, err)
	}
	for _, n := range nodes {
		file, err := os.Open(archive)
		if err != nil {
			return err
		}
		err = nodeutils.LoadImageArchive(n, file)
		file.Close()
		if err != nil {
			return fmt.Errorf("loading %s into node %s: %w", archive, n, err)
		}
	}
	return nil
}
