package bringup

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/cluster/local"
)

// host is a cluster that is not the environment's: another local one, with DNS
// and a registry that its node trusts, reached through its kubeconfig alone.
type host struct {
	*environment
	cfg                          *rest.Config
	core                         kubernetes.Interface
	kubeconfig, ca, dockerConfig string
}

func newHost(t *testing.T, flags ...string) *host {
	t.Helper()
	h := &host{environment: needed(t, "host").forgotten()}
	h.run(append([]string{"up", "dns", "registry", "--progress", "plain"}, flags...)...)
	raw := h.run("kubeconfig")
	dir := t.TempDir()
	h.kubeconfig = filepath.Join(dir, "kubeconfig")
	h.ca = filepath.Join(dir, "ca.crt")
	h.dockerConfig = dir
	cfg, err := clientcmd.RESTConfigFromKubeConfig(raw)
	if err != nil {
		t.Fatal(err)
	}
	h.cfg, h.core = cfg, kubernetes.NewForConfigOrDie(cfg)
	ca, err := h.core.CoreV1().ConfigMaps(v1alpha1.SystemNamespace).Get(t.Context(), v1alpha1.PublicCA, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	login, err := h.core.CoreV1().Secrets(v1alpha1.SystemNamespace).Get(t.Context(), "registry-htpasswd", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	docker, err := json.Marshal(map[string]any{"auths": map[string]any{v1alpha1.RegistryHost: map[string]any{
		"auth": []byte(string(login.Data["username"]) + ":" + string(login.Data["password"])),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{
		h.kubeconfig: raw, h.ca: []byte(ca.Data[v1alpha1.CAKey]), filepath.Join(dir, "config.json"): docker,
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("DOCKER_CONFIG", dir)
	h.storage()
	return h
}

// storage is what somebody who runs a cluster has given it: a class for claims that
// name none, and a volume for each database.
func (h *host) storage() {
	h.Helper()
	class := &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: "host", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: "kubernetes.io/no-provisioner",
	}
	if _, err := h.core.StorageV1().StorageClasses().Create(h.Context(), class, metav1.CreateOptions{}); err != nil {
		h.Fatal(err)
	}
	cache, err := build.Open()
	if err != nil {
		h.Fatal(err)
	}
	node, err := local.New(cache, local.Options{Name: h.name})
	if err != nil {
		h.Fatal(err)
	}
	for _, database := range []string{"postgresql", "redis"} {
		const user = 999 // of Debian's images of both
		if err := node.Volume(database, user); err != nil {
			h.Fatal(err)
		}
		volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "host-" + database}, Spec: corev1.PersistentVolumeSpec{
			StorageClassName: class.Name, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("20Gi")},
			ClaimRef:               &corev1.ObjectReference{Namespace: v1alpha1.SystemNamespace, Name: database + "-data"},
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: filepath.Join(local.Volumes, database)}},
		}}
		if _, err := h.core.CoreV1().PersistentVolumes().Create(h.Context(), volume, metav1.CreateOptions{}); err != nil {
			h.Fatal(err)
		}
	}
}

// kinds are the definitions of kinds in the host's cluster, of any of the groups.
func (h *host) kinds(groups ...string) []string {
	h.Helper()
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	list, err := dynamic.NewForConfigOrDie(h.cfg).Resource(crds).List(h.Context(), metav1.ListOptions{})
	if err != nil {
		h.Fatal(err)
	}
	var names []string
	for _, u := range list.Items {
		for _, group := range groups {
			if strings.HasSuffix(u.GetName(), "."+group) {
				names = append(names, u.GetName())
			}
		}
	}
	return names
}

// TestExistingCluster brings an environment up in a cluster that is not its own,
// runs a workflow there, and removes what was installed and nothing else.
func TestExistingCluster(t *testing.T) {
	if os.Getenv("KUBERNAUT_TEST") != "full" {
		t.Skip("takes minutes: run make test-full")
	}
	h := newHost(t)
	guest := needed(t, "guest")
	guest.run("up", "--progress", "plain", "--cluster", "existing", "--kubeconfig", h.kubeconfig, "--registry", v1alpha1.RegistryHost, "--registry-ca", h.ca)

	h.works()
	guest.run("up", "--progress", "plain") // finds everything, and where it is
	guest.down()

	if left := h.kinds("kubernaut.ai", "tekton.dev"); len(left) > 0 {
		t.Errorf("of the guest are left: %v", left)
	}
	if _, err := h.core.CoreV1().Namespaces().Get(t.Context(), "tekton-pipelines", metav1.GetOptions{}); err == nil {
		t.Error("Tekton's namespace is left")
	}
	d, err := h.core.AppsV1().Deployments(v1alpha1.SystemNamespace).Get(t.Context(), "registry", metav1.GetOptions{})
	if err != nil || d.Status.AvailableReplicas == 0 {
		t.Errorf("the host's own registry is harmed: %v", err)
	}
}
