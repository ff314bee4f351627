package existing

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kubernaut.ai/kubernaut/internal/cluster"
	"kubernaut.ai/kubernaut/test/servers"
)

// kubeconfig writes one with two contexts: "ours" leads to the server, "nowhere"
// to nobody.
func kubeconfig(t *testing.T, cfg *rest.Config) string {
	t.Helper()
	raw := clientcmdapi.NewConfig()
	raw.Clusters["ours"] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	raw.Clusters["nowhere"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:1"}
	raw.AuthInfos["me"] = &clientcmdapi.AuthInfo{ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData}
	for name := range raw.Clusters {
		raw.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: "me"}
	}
	raw.CurrentContext = "nowhere"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*raw, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestExisting runs every story on one API server.
func TestExisting(t *testing.T) {
	cfg := servers.APIServer(t)
	core, err := kubernetes.NewForConfig(cfg)
	must(t, err)
	path := kubeconfig(t, cfg)
	of := func(context string) *Cluster {
		c, err := New(Options{Kubeconfig: path, Context: context, Owner: "test"})
		must(t, err)
		return c
	}
	t.Run("UpIsContentWithWhatFits", func(t *testing.T) {
		must(t, of("ours").Up(t.Context(), func(string) {}))
		status, err := of("ours").Status(t.Context())
		must(t, err)
		if status.State != cluster.Ready {
			t.Errorf("status %+v", status)
		}
	})
	t.Run("UpNamesAServerThatDoesNotAnswer", func(t *testing.T) {
		err := of("").Up(t.Context(), func(string) {})
		if err == nil || !strings.Contains(err.Error(), "https://127.0.0.1:1 does not answer") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("KubeconfigIsOnlyTheContextAsked", func(t *testing.T) {
		raw, err := of("ours").Kubeconfig(t.Context())
		must(t, err)
		if text := string(raw); strings.Contains(text, "nowhere") || !strings.Contains(text, "client-key-data") {
			t.Errorf("got %s", text)
		}
		if _, err := of("theirs").Kubeconfig(t.Context()); err == nil || !strings.Contains(err.Error(), `no context "theirs"`) {
			t.Errorf("a context that is not there: %v", err)
		}
	})
	t.Run("MissingRightsAreNamed", func(t *testing.T) { missingRights(t, cfg, core) })
	t.Run("DownRemovesOnlyWhatIsOurs", func(t *testing.T) { downRemoves(t, core, of("ours")) })
}

func missingRights(t *testing.T, cfg *rest.Config, core kubernetes.Interface) {
	_, err := core.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "little"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"*"}, Verbs: []string{"*"}}},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = core.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "little"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "little"},
		Subjects:   []rbacv1.Subject{{Kind: "User", Name: "dora"}},
	}, metav1.CreateOptions{})
	must(t, err)
	dora := rest.CopyConfig(cfg)
	dora.Impersonate = rest.ImpersonationConfig{UserName: "dora", Groups: []string{"system:authenticated"}}
	hers, err := kubernetes.NewForConfig(dora)
	must(t, err)
	c := Cluster{options: Options{Kinds: []schema.GroupKind{
		{Kind: "Service"}, {Group: "policy", Kind: "PodDisruptionBudget"}, {Group: "networking.k8s.io", Kind: "NetworkPolicy"},
	}}}
	err = c.rights(t.Context(), hers)
	if err == nil {
		t.Fatal("nothing is missing")
	}
	for what, missing := range map[string]bool{
		"escalate, bind clusterroles.rbac.authorization.k8s.io": true, "list storageclasses.storage.k8s.io": true,
		"create, get, list, watch, patch, delete poddisruptionbudgets.policy": true, "delete networkpolicies.networking.k8s.io": true,
		" secrets": false, " services": false, "pods": false,
	} {
		if strings.Contains(err.Error(), what) != missing {
			t.Errorf("%s: missing is %t in %v", what, missing, err)
		}
	}
}

func downRemoves(t *testing.T, core kubernetes.Interface, c *Cluster) {
	configMaps := core.CoreV1().ConfigMaps("default")
	for name, owner := range map[string]string{"ours": "test", "of-another": "other", "plain": ""} {
		o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if owner != "" {
			o.Labels = map[string]string{OwnerLabel: owner}
		}
		_, err := configMaps.Create(t.Context(), o, metav1.CreateOptions{})
		must(t, err)
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "ours", Labels: map[string]string{OwnerLabel: "test"}, Finalizers: []string{"example.com/slow"}}}
	_, err := core.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{})
	must(t, err)

	brief, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = c.remove(brief, func(note string) {
		if strings.Contains(note, "held by") {
			cancel()
		}
	})
	if err == nil || !strings.Contains(err.Error(), `ClusterRole "ours" is not gone yet, held by example.com/slow`) {
		t.Errorf("while something is held: %v", err)
	}
	_, err = core.RbacV1().ClusterRoles().Patch(t.Context(), "ours", "application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	must(t, err)
	must(t, c.Down(t.Context()))

	if _, err := core.RbacV1().ClusterRoles().Get(t.Context(), "ours", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the role: %v", err)
	}
	left, err := configMaps.List(t.Context(), metav1.ListOptions{})
	must(t, err)
	var names []string
	for _, o := range left.Items {
		if o.Name != "kube-root-ca.crt" {
			names = append(names, o.Name)
		}
	}
	if diff := cmp.Diff([]string{"of-another", "plain"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestVersions(t *testing.T) {
	for version, want := range map[string]string{
		"v1.37.2": "", "v1.36.0": "", "v1.36.4-gke.100": "", "v1.35.9": "need 1.36.0", "v1.9.0": "need 1.36.0", "banana": `version "banana"`,
	} {
		err := newEnough(version)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", version, err, want)
		}
	}
}

func TestAKubeconfigThatIsNotThere(t *testing.T) {
	c, err := New(Options{Kubeconfig: filepath.Join(t.TempDir(), "none")})
	must(t, err)
	if _, err := c.Kubeconfig(t.Context()); err == nil || !strings.Contains(err.Error(), "kubeconfig") {
		t.Errorf("got %v", err)
	}
	if err := c.LoadImage(t.Context(), os.DevNull); err == nil || !strings.Contains(err.Error(), "--registry") {
		t.Errorf("got %v", err)
	}
}
