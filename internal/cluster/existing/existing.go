// Package existing is a cluster that is not ours: whatever a kubeconfig leads
// to. Nothing of it is made, changed or ended here but what an environment
// installed, which carries its label.
package existing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kubernaut.ai/kubernaut/internal/cluster"
	"kubernaut.ai/kubernaut/internal/cluster/inventory"
)

// OwnerLabel says which environment installed an object: only these are changed
// and removed.
const OwnerLabel = "kubernaut.ai/environment"

// MinimumVersion is the oldest Kubernetes that has what the chart needs.
const MinimumVersion = "1.36.0"

// Options say which cluster is meant, and for whom.
type Options struct {
	Kubeconfig string // a path; empty: as kubectl finds it
	Context    string // in it; empty: its current one
	Owner      string // the environment

	Kinds []schema.GroupKind // of the objects that it will apply here: Up asks whether it may
}

// Cluster is a cluster that was there before.
type Cluster struct {
	options Options
}

var _ cluster.Cluster = (*Cluster)(nil)

// New returns the cluster. It looks at nothing yet.
func New(o Options) (*Cluster, error) { return &Cluster{options: o}, nil }

// Kubeconfig is the part of the user's that leads to this cluster.
func (c *Cluster) Kubeconfig(context.Context) ([]byte, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.options.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.options.Context})
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	if c.options.Context != "" {
		raw.CurrentContext = c.options.Context
	}
	if _, ok := raw.Contexts[raw.CurrentContext]; !ok {
		return nil, fmt.Errorf("the kubeconfig has no context %q; name one with --context, or a file with --kubeconfig", raw.CurrentContext)
	}
	if err := errors.Join(clientcmdapi.MinifyConfig(&raw), clientcmdapi.FlattenConfig(&raw)); err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	return clientcmd.Write(raw)
}

func (c *Cluster) config(ctx context.Context) (*rest.Config, error) {
	raw, err := c.Kubeconfig(ctx)
	if err != nil {
		return nil, err
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	cfg.Timeout = 15 * time.Second
	return cfg, nil
}

// Up checks that the cluster answers, is new enough, and lets us install.
func (c *Cluster) Up(ctx context.Context, say func(note string)) error {
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	cfg.QPS = -1 // many short questions
	core, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	say("asking " + cfg.Host + " for its version")
	found, err := core.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("the cluster at %s does not answer: %w", cfg.Host, err)
	}
	if err := newEnough(found.GitVersion); err != nil {
		return err
	}
	say("asking what we may do")
	return c.rights(ctx, core)
}

func newEnough(text string) error {
	v, err := version.ParseGeneric(text)
	if err != nil {
		return fmt.Errorf("the cluster says it is version %q: %w", text, err)
	}
	if v.LessThan(version.MustParseGeneric(MinimumVersion)) {
		return fmt.Errorf("the cluster is Kubernetes %s; the admission policies that stamp who asked for what need %s: upgrade it, or install the chart by hand with identity.enabled=false", text, MinimumVersion)
	}
	return nil
}

// need is a right without which nothing can be installed.
type need struct {
	group, resource, subresource string
	verbs                        []string
}

// String is how kubectl writes it.
func (n need) String() string {
	name := n.resource
	if n.subresource != "" {
		name += "/" + n.subresource
	}
	return strings.Join(n.verbs, ", ") + " " + strings.TrimSuffix(name+"."+n.group, ".")
}

// installing are the verbs that an object is applied, awaited and removed with.
var installing = []string{"create", "get", "list", "watch", "patch", "delete"}

// always are the rights that follow from no manifest. Giving roles means to have,
// or be allowed to exceed, what they give.
var always = []need{
	{group: "*", resource: "*", verbs: []string{"list"}}, // removal looks for the environment's label among all kinds
	{resource: "nodes", verbs: []string{"list"}},
	{resource: "pods", verbs: []string{"list", "watch"}},
	{resource: "pods", subresource: "portforward", verbs: []string{"create"}}, // PostgreSQL, and a registry in the cluster
	{resource: "secrets", verbs: installing},
	{resource: "configmaps", verbs: installing},
	{group: "storage.k8s.io", resource: "storageclasses", verbs: []string{"list"}},
	{group: "rbac.authorization.k8s.io", resource: "clusterroles", verbs: []string{"escalate", "bind"}},
	{group: "rbac.authorization.k8s.io", resource: "roles", verbs: []string{"escalate", "bind"}},
	{group: "tekton.dev", resource: "tasks", verbs: []string{"create"}}, // to ask its webhook
	{group: "kubernaut.ai", resource: "workflowexecutions", verbs: installing},
}

// needed are the rights that installing objects of the kinds takes.
func needed(kinds []schema.GroupKind) []need {
	all := slices.Clone(always)
	for _, kind := range kinds {
		plural, _ := meta.UnsafeGuessKindToResource(kind.WithVersion(""))
		all = append(all, need{group: plural.Group, resource: plural.Resource, verbs: installing})
	}
	return all
}

// rights names everything that is needed and not allowed.
func (c *Cluster) rights(ctx context.Context, core kubernetes.Interface) error {
	all, err := allowed(ctx, core, authorizationv1.ResourceAttributes{Group: "*", Resource: "*", Verb: "*"})
	if err != nil || all {
		return err
	}
	var missing []string
	for _, n := range needed(c.options.Kinds) {
		var lacks []string
		for _, verb := range n.verbs {
			ok, err := allowed(ctx, core, authorizationv1.ResourceAttributes{Group: n.group, Resource: n.resource, Subresource: n.subresource, Verb: verb})
			if err != nil {
				return err
			}
			if !ok {
				lacks = append(lacks, verb)
			}
		}
		if n.verbs = lacks; len(lacks) > 0 && !slices.Contains(missing, n.String()) {
			missing = append(missing, n.String())
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("the user of this kubeconfig may not: %s; ask for the ClusterRole cluster-admin, or for these", strings.Join(missing, "; "))
}

func allowed(ctx context.Context, core kubernetes.Interface, what authorizationv1.ResourceAttributes) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}
	answer, err := core.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("asking what we may do: %w", err)
	}
	return answer.Status.Allowed, nil
}

// Down removes what the environment installed, and nothing else.
func (c *Cluster) Down(ctx context.Context) error { return c.remove(ctx, func(string) {}) }

func (c *Cluster) remove(ctx context.Context, say func(string)) error {
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	cfg.Timeout = 0 // watches last
	in, err := inventory.New(cfg)
	if err != nil {
		return err
	}
	items, err := in.List(ctx, OwnerLabel+"="+c.options.Owner)
	if err != nil {
		return err
	}
	return in.Remove(ctx, items, say)
}

// Status asks whether the API server answers.
func (c *Cluster) Status(ctx context.Context) (cluster.Status, error) {
	cfg, err := c.config(ctx)
	if err != nil {
		return cluster.Status{}, err
	}
	core, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return cluster.Status{}, err
	}
	status := cluster.Status{State: cluster.Ready, Server: cfg.Host}
	if _, err := core.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
		status.State, status.Problem = cluster.Starting, err.Error()
	}
	return status, nil
}

// LoadImage is refused: nodes that are not ours get images from registries.
func (c *Cluster) LoadImage(context.Context, string) error {
	return errors.New("images cannot be loaded into the nodes of an existing cluster: they pull from --registry")
}
