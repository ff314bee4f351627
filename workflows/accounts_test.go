package workflows_test

import (
	"cmp"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/environment/chart"
)

// account is the service account of a shipped workflow.
func account(t *testing.T, workflow string) string {
	t.Helper()
	return cmp.Or(shipped(t, workflow).Definition.ServiceAccount, v1alpha1.DefaultServiceAccount)
}

// runner gives a workflow's service account the rights that the chart gives it, and
// returns how its runs reach the API server: whatever a step is not allowed to do
// fails in the tests, too.
func runner(t *testing.T, admin *rest.Config, workflow string) *rest.Config {
	t.Helper()
	objects, err := chart.Render(t.Context(), "../charts/kubernaut", chart.Release{
		Name: "kubernaut", Namespace: v1alpha1.SystemNamespace, KubeVersion: "v1.37.2",
		Values: map[string]any{"images": map[string]any{"datastorage": "a:1", "controller": "b:1"}},
	})
	must(t, err)
	c, err := client.New(admin, client.Options{Scheme: connect.Scheme})
	must(t, err)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.WorkflowNamespace}}
	if err := c.Create(t.Context(), ns); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	for _, o := range objects["workflows"] {
		must(t, c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("test")))
	}
	name := account(t, workflow)
	var made corev1.ServiceAccount
	must(t, c.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.WorkflowNamespace, Name: name}, &made))
	if made.Labels[v1alpha1.LabelForWorkflows] != "true" {
		t.Errorf("the chart's account %s does not carry %s=true: no workflow may name it", name, v1alpha1.LabelForWorkflows)
	}
	cfg := rest.CopyConfig(admin)
	cfg.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + v1alpha1.WorkflowNamespace + ":" + name,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + v1alpha1.WorkflowNamespace, "system:authenticated"},
	}
	return cfg
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestEveryAccountOfTheChartHasAWorkflow: no right is given that nothing needs.
func TestEveryAccountOfTheChartHasAWorkflow(t *testing.T) {
	objects, err := chart.Render(t.Context(), "../charts/kubernaut", chart.Release{
		Name: "kubernaut", Namespace: v1alpha1.SystemNamespace, KubeVersion: "v1.37.2",
		Values: map[string]any{"images": map[string]any{"datastorage": "a:1", "controller": "b:1"}},
	})
	must(t, err)
	folders, err := workflowFolders()
	must(t, err)
	used := map[string]bool{}
	for _, f := range folders {
		used[account(t, f)] = true
	}
	for _, o := range objects["workflows"] {
		if o.GetKind() == "ServiceAccount" && !used[o.GetName()] {
			t.Errorf("the chart makes the account %s, which no shipped workflow names", o.GetName())
		}
	}
}
