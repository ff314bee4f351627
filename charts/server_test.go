package charts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/environment/chart"
	"kubernaut.ai/kubernaut/test/servers"
)

// cluster is an API server on which the chart is installed.
type cluster struct {
	t     *testing.T
	cfg   *rest.Config
	admin client.Client
}

// installed starts an API server and applies what a set of values renders, in
// the order in which anybody would: namespaces first.
func installed(t *testing.T, set string) cluster {
	t.Helper()
	cfg := servers.APIServer(t)
	k := cluster{t: t, cfg: cfg, admin: newClient(t, cfg)}
	k.apply(namespace(v1alpha1.SystemNamespace))
	k.apply(namespace("payment")) // of targets
	components, err := chart.Render(t.Context(), "kubernaut", release(valueSets[set]))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range components["namespaces"] {
		k.apply(o)
	}
	delete(components, "namespaces")
	delete(components, chart.CRDs) // the API server has them
	for component, objects := range maps.All(components) {
		for _, o := range objects {
			if err := k.tryApply(o); err != nil {
				t.Errorf("component %s: %v", component, err)
			}
		}
	}
	return k
}

func namespace(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
	}}
}

func newClient(t *testing.T, cfg *rest.Config) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (k cluster) apply(o *unstructured.Unstructured) {
	k.t.Helper()
	if err := k.tryApply(o); err != nil {
		k.t.Fatal(err)
	}
}

// tryApply applies an object server-side.
func (k cluster) tryApply(o *unstructured.Unstructured) error {
	return k.admin.Apply(k.t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("test"), client.ForceOwnership)
}

// as returns a client of another user.
func (k cluster) as(user string, groups ...string) client.Client {
	k.t.Helper()
	cfg := rest.CopyConfig(k.cfg)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:authenticated")}
	return newClient(k.t, cfg)
}

func execution(name, target string) *v1alpha1.WorkflowExecution {
	return &v1alpha1.WorkflowExecution{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: v1alpha1.WorkflowExecutionSpec{
			WorkflowRef:    v1alpha1.WorkflowRef{WorkflowID: "w", Version: "1.0.0"},
			TargetResource: target,
		},
	}
}

// inForce waits until the policies are.
func (k cluster) inForce() {
	k.t.Helper()
	k.bind("stranger", "kubernaut-edit", "default")
	stranger := k.as("stranger")
	var last error
	err := wait.PollUntilContextTimeout(k.t.Context(), 100*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		last = k.probe(ctx, stranger)
		return last == nil, nil
	})
	if err != nil {
		k.t.Fatalf("the policies did not come into force: %v", last)
	}
}

// probe tells which policy is not in force yet: an execution of a stranger is
// refused, one of the administrator stamped, and a pod of a run restricted.
func (k cluster) probe(ctx context.Context, stranger client.Client) error {
	ex := execution("probe", "default/deployment/a")
	switch err := stranger.Create(ctx, ex.DeepCopy(), client.DryRunAll); {
	case err == nil:
		return errors.New("a stranger's execution is let through")
	case !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "remedied"):
		return fmt.Errorf("a stranger's execution: %w", err)
	}
	if err := k.admin.Create(ctx, ex, client.DryRunAll); err != nil {
		return err
	}
	if ex.Spec.CreatedBy == "" || len(ex.Finalizers) == 0 {
		return fmt.Errorf("created by %q, finalizers %q", ex.Spec.CreatedBy, ex.Finalizers)
	}
	return k.admin.Create(ctx, runPod(corev1.Container{Name: "step", Image: "example"}), client.DryRunAll)
}

// bind gives a user a ClusterRole in one namespace, everywhere with "".
func (k cluster) bind(user, role, where string) {
	k.t.Helper()
	kind := "RoleBinding"
	metadata := map[string]any{"name": user + "-" + role, "namespace": where}
	if where == "" {
		kind = "ClusterRoleBinding"
		delete(metadata, "namespace")
	}
	k.apply(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata,
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
		"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}},
	}})
}

func runPod(containers ...corev1.Container) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "run", Namespace: v1alpha1.WorkflowNamespace},
		Spec:       corev1.PodSpec{Containers: containers, ServiceAccountName: v1alpha1.DefaultServiceAccount},
	}
}
