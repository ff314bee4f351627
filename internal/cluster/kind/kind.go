// Package kind is a cluster whose nodes are containers of Docker or Podman. The
// library of sigs.k8s.io/kind does the work; here is what an environment adds:
// a registry that the nodes trust, images from archives, a kubeconfig that stays
// out of the user's own, and a node that comes back with its data.
package kind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
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
	Image    string // of the nodes; empty: the one that the library was released with
	Keep     bool   // nodes that do not become ready are not removed, for a look
	AuditLog bool   // the API server writes down every change, and who made it
	Registry Registry
}

// Cluster is one cluster. Everything about it is known to the engine.
type Cluster struct {
	options Options
}

var _ cluster.Cluster = (*Cluster)(nil)

// New returns the cluster of that name. It looks at nothing and starts nothing.
func New(o Options) *Cluster { return &Cluster{options: o} }

func (c *Cluster) name() string       { return "kubernaut-" + c.options.Name }
func (c *Cluster) kubeconfig() string { return filepath.Join(c.options.Dir, "kubeconfig") }

// engine finds Docker or Podman. say is told what kind does in it.
func engine(say func(note string)) (*kindcluster.Provider, error) {
	found, err := kindcluster.DetectNodeProvider()
	if err != nil {
		return nil, fmt.Errorf("kind needs a container engine, and neither docker nor podman answers: %w; start one, or take --cluster local, which needs none", err)
	}
	return kindcluster.NewProvider(found, kindcluster.ProviderWithLogger(talk{say})), nil
}

func quiet(string) {}

// Up makes the cluster unless it is there, and waits until its node is ready.
func (c *Cluster) Up(ctx context.Context, say func(note string)) error {
	provider, err := engine(say)
	if err != nil {
		return err
	}
	there, err := c.exists(provider)
	if err != nil {
		return err
	}
	if there && c.Made() {
		return c.untilReady(ctx, say)
	}
	if there {
		say("removing the cluster that an earlier attempt left half-made")
		if err := provider.Delete(c.name(), c.kubeconfig()); err != nil {
			return fmt.Errorf("removing kind cluster %s: %w", c.name(), explained(err))
		}
	}
	if err := errors.Join(c.writeTrust(), c.writeAuditPolicy()); err != nil {
		return err
	}
	say("making kind cluster " + c.name())
	if err := c.create(ctx, provider); err != nil {
		return err
	}
	return c.untilReady(ctx, say) // kind only warns of a node that is not
}

// create runs where ctx cannot reach: whoever interrupts goes, and the next Up
// finds what became of it.
func (c *Cluster) create(ctx context.Context, provider *kindcluster.Provider) error {
	if err := os.Remove(c.mark()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	done := make(chan error, 1)
	go func() {
		done <- provider.Create(c.name(), kindcluster.CreateWithV1Alpha4Config(c.config()), kindcluster.CreateWithRetain(c.options.Keep),
			kindcluster.CreateWithKubeconfigPath(c.kubeconfig()), kindcluster.CreateWithWaitForReady(patience))
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-done:
		if err != nil {
			return fmt.Errorf("making kind cluster %s: %w", c.name(), explained(err))
		}
		began, err := c.started(provider)
		if err != nil {
			return err
		}
		return c.remember(began)
	}
}

func (c *Cluster) exists(provider *kindcluster.Provider) (bool, error) {
	names, err := provider.List()
	if err != nil {
		return false, fmt.Errorf("asking the container engine for kind clusters: %w; start it, or take --cluster local, which needs none", explained(err))
	}
	return slices.Contains(names, c.name()), nil
}

// Down removes the nodes. Of a cluster whose making never began, the engine is not
// asked: it may be that which did not answer.
func (c *Cluster) Down(context.Context) error {
	if _, err := os.Stat(c.options.Dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	provider, err := engine(quiet)
	if err != nil {
		return err
	}
	if err := provider.Delete(c.name(), c.kubeconfig()); err != nil {
		return fmt.Errorf("removing kind cluster %s: %w", c.name(), explained(err))
	}
	return os.RemoveAll(c.options.Dir)
}

// Status asks the engine for the cluster and the cluster for its node.
func (c *Cluster) Status(ctx context.Context) (cluster.Status, error) {
	provider, err := engine(quiet)
	if err != nil {
		return cluster.Status{}, err
	}
	there, err := c.exists(provider)
	if err != nil || !there {
		return cluster.Status{State: cluster.Absent}, err
	}
	status := cluster.Status{State: cluster.Starting}
	if status.Since, err = c.started(provider); err != nil {
		status.Problem = err.Error()
		return status, nil
	}
	cfg, err := c.connection(ctx)
	if err != nil {
		status.Problem = err.Error()
		return status, nil
	}
	status.Server = cfg.Host
	core, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return status, err
	}
	nodes, err := core.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	switch {
	case err != nil:
		status.Problem = err.Error()
	case !slices.ContainsFunc(nodes.Items, func(n corev1.Node) bool { return ready(n, status.Since) }):
		status.Problem = "its node is not ready"
		for _, n := range nodes.Items {
			status.Problem += reason(n)
		}
	default:
		status.State = cluster.Ready
	}
	return status, nil
}

// connection is how the cluster is reached, if it answers within reason.
func (c *Cluster) connection(ctx context.Context) (*rest.Config, error) {
	raw, err := c.Kubeconfig(ctx)
	if err != nil {
		return nil, err
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("its kubeconfig is not whole: %w", err)
	}
	cfg.Timeout = 5 * time.Second
	return cfg, nil
}

// ready tells whether the kubelet calls the node ready, and has done so since the
// node was started: what it said before may not hold any more.
func ready(n corev1.Node, since time.Time) bool {
	c := condition(n)
	return c.Status == corev1.ConditionTrue && !c.LastHeartbeatTime.Time.Before(since.Truncate(time.Second))
}

// reason is why a node is not ready, in the kubelet's words.
func reason(n corev1.Node) string {
	switch c := condition(n); {
	case c.Status == corev1.ConditionTrue:
		return ": the kubelet has not said anything since it was started"
	case c.Message != "":
		return ": " + c.Message
	}
	return ""
}

func condition(n corev1.Node) corev1.NodeCondition {
	i := slices.IndexFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeReady })
	if i < 0 {
		return corev1.NodeCondition{}
	}
	return n.Status.Conditions[i]
}

// Kubeconfig is for the administrator, from this machine.
func (c *Cluster) Kubeconfig(context.Context) ([]byte, error) {
	provider, err := engine(quiet)
	if err != nil {
		return nil, err
	}
	raw, err := provider.KubeConfig(c.name(), false)
	if err != nil {
		return nil, fmt.Errorf("asking kind cluster %s for its kubeconfig: %w", c.name(), explained(err))
	}
	return []byte(raw), nil
}

// LoadImage gives every node the archive's images.
func (c *Cluster) LoadImage(_ context.Context, archive string) error {
	provider, err := engine(quiet)
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
			return fmt.Errorf("loading %s into node %s: %w", archive, n, explained(err))
		}
	}
	return nil
}
