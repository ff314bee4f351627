package environment

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/upstream"
	"kubernaut.ai/kubernaut/internal/pki"
	"kubernaut.ai/kubernaut/test/servers"
)

func TestPlacesThatCannotWorkAreRefused(t *testing.T) {
	for _, c := range []struct {
		place Place
		want  string
	}{
		{Place{Cluster: Local}, ""},
		{Place{Cluster: Kind}, ""},
		{Place{Cluster: Kind, NodeImage: "mirror.example.com/kindest/node:v1.37.0"}, ""},
		{Place{Cluster: Local, NodeImage: "kindest/node:v1.37.0"}, "--node-image is for --cluster kind"},
		{Place{Cluster: Existing, Registry: "registry.example.com/kubernaut"}, ""},
		{Place{Cluster: Existing}, "needs --registry"},
		{Place{Cluster: Existing, Registry: "https://registry.example.com"}, "write host[:port]"},
		{Place{Cluster: Local, Registry: "registry.example.com"}, "are for --cluster existing"},
		{Place{Cluster: "minikube"}, "it is one of local, kind, existing"},
	} {
		err := c.place.check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.place, err, c.want)
		}
	}
}

func TestAnEnvironmentStaysWhereItIs(t *testing.T) {
	t.Setenv("KUBERNAUT_CACHE", t.TempDir())
	there := Place{Cluster: Existing, Registry: "registry.example.com/kubernaut", Context: "production"}
	w, err := newWorld(Options{Name: "test", Place: there})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.keepPlace(); err != nil {
		t.Fatal(err)
	}
	renewed := there
	renewed.RegistryCA = "new.crt"
	for _, c := range []struct{ asked, want Place }{
		{Place{}, there}, {there, there}, {renewed, renewed}, {Place{RegistryCA: "new.crt"}, renewed},
	} {
		again, err := newWorld(Options{Name: "test", Place: c.asked})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, again.options.Place); diff != "" {
			t.Errorf("asked for %+v: %s", c.asked, diff)
		}
	}
	_, err = newWorld(Options{Name: "test", Place: Place{Cluster: Local}})
	if err == nil || !strings.Contains(err.Error(), "runs elsewhere already (cluster existing, context production, registry registry.example.com/kubernaut)") {
		t.Errorf("got %v", err)
	}
}

func TestTheNodesOfKindStayOfTheirImage(t *testing.T) {
	t.Setenv("KUBERNAUT_CACHE", t.TempDir())
	there := Place{Cluster: Kind, NodeImage: "mirror.example.com/kindest/node:v1.37.0"}
	w, err := newWorld(Options{Name: "test", Place: there})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.keepPlace(); err != nil {
		t.Fatal(err)
	}
	for _, asked := range []Place{{}, {Cluster: Kind}, {NodeImage: there.NodeImage}, there} {
		again, err := newWorld(Options{Name: "test", Place: asked})
		if err != nil {
			t.Errorf("asked for %+v: %v", asked, err)
		} else if diff := cmp.Diff(there, again.options.Place); diff != "" {
			t.Errorf("asked for %+v: %s", asked, diff)
		}
	}
	other := Place{Cluster: Kind, NodeImage: "kindest/node:v1.36.0"}
	if again, err := newWorld(Options{Name: "test", Place: other}); err != nil || again.options.Place != other {
		t.Errorf("no node was made, and the image cannot be another: %v", err)
	}
	made := w.dir("kind", "made")
	if err := errors.Join(os.MkdirAll(filepath.Dir(made), 0o755), os.WriteFile(made, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	_, err = newWorld(Options{Name: "test", Place: other})
	if err == nil || !strings.Contains(err.Error(), "runs elsewhere already (cluster kind, node image mirror.example.com/kindest/node:v1.37.0)") {
		t.Errorf("got %v", err)
	}
}

// stepsAt are the steps of an environment at another place.
func stepsAt(t *testing.T, p Place) []plan.Step {
	t.Helper()
	t.Setenv("KUBERNAUT_CACHE", t.TempDir())
	w, err := newWorld(Options{Name: "test", Place: p})
	if err != nil {
		t.Fatal(err)
	}
	components, err := w.components(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := make([]plan.Step, len(components))
	for i, c := range components {
		all[i] = c.Step
	}
	return all
}

func stepNames(p *plan.Plan) []string {
	var names []string
	for _, s := range p.Steps() {
		names = append(names, s.Name)
	}
	return names
}

func TestThePlanForKind(t *testing.T) {
	p, err := plan.Of(stepsAt(t, Place{Cluster: Kind})...)
	if err != nil {
		t.Fatal(err)
	}
	names := stepNames(p)
	for _, ours := range []string{"build-kubernetes", "build-containerd", "build-coredns", "image-dns", "load-dns", "dns", "machine"} {
		if slices.Contains(names, ours) {
			t.Errorf("kind brings its own %s", ours)
		}
	}
	for _, step := range []string{"load-tekton", "registry", "push-tools", "tekton-settings", "controller", "datastorage"} {
		if !slices.Contains(names, step) {
			t.Errorf("the plan lacks %s", step)
		}
	}
}

// registryServer is a real registry in this process, with a certificate of its own.
func registryServer(t *testing.T) (host, ca string) {
	t.Helper()
	server := httptest.NewTLSServer(registry.New())
	t.Cleanup(server.Close)
	ca = filepath.Join(t.TempDir(), "ca.crt")
	raw := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(server.URL, "https://"), ca
}

func kubeconfigOf(t *testing.T, cfg *rest.Config) string {
	t.Helper()
	raw := clientcmdapi.NewConfig()
	raw.Clusters["c"] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	raw.AuthInfos["me"] = &clientcmdapi.AuthInfo{ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData}
	raw.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "me"}
	raw.CurrentContext = "c"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*raw, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// withTekton makes the cluster one that has Tekton.
func withTekton(t *testing.T, kubeconfig string) {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	core := kubernetes.NewForConfigOrDie(cfg)
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: upstream.TektonNamespace}}
	if _, err := core.CoreV1().Namespaces().Create(t.Context(), space, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"app": tektonController}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: tektonController}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "controller", Image: "none"}}},
		},
	}}
	if _, err := core.AppsV1().Deployments(upstream.TektonNamespace).Create(t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// withStorageClass gives the cluster a class for claims that name none.
func withStorageClass(t *testing.T, kubeconfig string) {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	class := &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: "fast", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: "kubernetes.io/no-provisioner",
	}
	if _, err := kubernetes.NewForConfigOrDie(cfg).StorageV1().StorageClasses().Create(t.Context(), class, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// What the databases keep goes with their pods only where somebody has said so.
func TestAnExistingClusterWithoutStorageIsRefused(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // no login
	host, ca := registryServer(t)
	path := kubeconfigOf(t, servers.APIServer(t))
	t.Setenv("KUBERNAUT_CACHE", t.TempDir())
	place := Place{Cluster: Existing, Kubeconfig: path, Registry: host + "/kubernaut", RegistryCA: ca}
	planned := func(change func(*Place)) error {
		p := place
		change(&p)
		_, err := Plan(t.Context(), Options{Name: "test", Place: p})
		return err
	}
	refused := func(err error, all ...string) {
		t.Helper()
		for _, want := range all {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("want %q to be said, got: %v", want, err)
			}
		}
	}
	refused(planned(func(*Place) {}), `PersistentVolumeClaim "postgresql-data" needs StorageClass "(default)"`, "the cluster has no StorageClass", "--storage-class", "--ephemeral")
	if err := planned(func(p *Place) { p.Ephemeral = true }); err != nil {
		t.Error(err)
	}
	withStorageClass(t, path)
	refused(planned(func(p *Place) { p.StorageClass = "slow" }), `needs StorageClass "slow"`, "the cluster has the StorageClasses fast:")
	for _, class := range []string{"", "fast"} {
		if err := planned(func(p *Place) { p.StorageClass = class }); err != nil {
			t.Error(err)
		}
	}
}

func TestThePlanForAnExistingCluster(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // no login
	host, ca := registryServer(t)
	path := kubeconfigOf(t, servers.APIServer(t))
	withStorageClass(t, path)
	p, err := plan.Of(stepsAt(t, Place{Cluster: Existing, Kubeconfig: path, Registry: host + "/kubernaut", RegistryCA: ca})...)
	if err != nil {
		t.Fatal(err)
	}
	names := stepNames(p)
	for _, ours := range []string{"build-kubernetes", "load-tekton", "dns", "registry", "machine"} {
		if slices.Contains(names, ours) {
			t.Errorf("an existing cluster gets no %s", ours)
		}
	}
	for _, c := range []struct{ step, after string }{
		{"tekton", "push-tekton"}, {"tekton", "secrets"}, {"postgresql", "push-databases"}, {"controller", "secrets"}, {"push-tools", "cluster"},
	} {
		if !slices.Contains(p.After(c.step), c.after) {
			t.Errorf("%s does not wait for %s, only for %v", c.step, c.after, p.After(c.step))
		}
	}

	withTekton(t, path)
	p, err = plan.Of(stepsAt(t, Place{Cluster: Existing, Kubeconfig: path, Registry: host + "/kubernaut", RegistryCA: ca})...)
	if err != nil {
		t.Fatal(err)
	}
	names = stepNames(p)
	for _, ours := range []string{"build-tekton", "image-tekton", "image-steps", "push-tekton", "push-steps", "tekton-settings"} {
		if slices.Contains(names, ours) {
			t.Errorf("a cluster that has Tekton gets no %s", ours)
		}
	}
	if !slices.Contains(p.After("controller"), "tekton") {
		t.Errorf("the controller does not wait for the check of Tekton, only for %v", p.After("controller"))
	}

	t.Setenv("KUBERNAUT_CACHE", t.TempDir())
	_, err = Plan(t.Context(), Options{Name: "test", Place: Place{Cluster: Existing, Kubeconfig: path, Registry: host + "/kubernaut"}})
	if want := fmt.Sprintf("--registry %s/kubernaut cannot be used", host); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "authority") {
		t.Errorf("a registry that nobody here trusts: %v", err)
	}
}

// What Up asks the existing cluster about follows from the manifests.
func TestRightsAreAskedForEveryKindOfThePlan(t *testing.T) {
	t.Setenv("KUBERNAUT_CACHE", t.TempDir())
	w, err := newWorld(Options{Name: "test", Place: Place{Cluster: Existing, Registry: "registry.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	w.found = found{version: kubernetesVersion}
	kinds, err := w.kinds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []apischema.GroupKind{
		{Kind: "Namespace"}, groupKind("rbac.authorization.k8s.io", "RoleBinding"),
		groupKind("admissionregistration.k8s.io", "MutatingWebhookConfiguration"), groupKind("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
		groupKind("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"), groupKind("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
	} {
		if !slices.Contains(kinds, want) {
			t.Errorf("nobody asks about %s, only about %v", want, kinds)
		}
	}
	w.found.tekton = true
	if kinds, err = w.kinds(t.Context()); err != nil || slices.Contains(kinds, groupKind("admissionregistration.k8s.io", "MutatingWebhookConfiguration")) {
		t.Errorf("Tekton of others is installed anew: %v, %v", kinds, err)
	}
}

func newAuthority(t *testing.T) []byte {
	t.Helper()
	ca, err := pki.Store{Dir: t.TempDir(), Now: time.Now()}.Authority("registry")
	if err != nil {
		t.Fatal(err)
	}
	return ca.Cert
}

func TestTektonOfOthers(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	fits := func(change func(*installedTekton)) installedTekton {
		t := installedTekton{version: "v1.15.0", flags: map[string]string{"set-security-context": "true"}, resolversReady: 1}
		change(&t)
		return t
	}
	for _, c := range []struct {
		why, want string
		tekton    installedTekton
	}{
		{"as it should be", "", fits(func(*installedTekton) {})},
		{"too old", "older than v1.0.0", fits(func(t *installedTekton) { t.version = "v0.59.0" })},
		{"a version nobody can read", "", fits(func(t *installedTekton) { t.version = "devel" })},
		{"no security contexts", "set-security-context", fits(func(t *installedTekton) { t.flags = nil })},
		{"no resolvers", "bundles cannot be resolved", fits(func(t *installedTekton) { t.resolversReady = 0 })},
		{"bundles switched off", "enable-bundles-resolver", fits(func(t *installedTekton) { t.resolverFlags = map[string]string{"enable-bundles-resolver": "false"} })},
		{"bundles switched on", "", fits(func(t *installedTekton) { t.resolverFlags = map[string]string{"enable-bundles-resolver": "true"} })},
		{"a CA of the registry's own", "config-registry-cert", fits(func(t *installedTekton) { t.ca = ca })},
		{"which is not the one it knows", "config-registry-cert", fits(func(t *installedTekton) { t.ca, t.trusted = ca, other })},
		{"which it knows beside others", "", fits(func(t *installedTekton) { t.ca, t.trusted = ca, slices.Concat(other, ca) })},
	} {
		got := strings.Join(tektonProblems(c.tekton), "; ")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
	}
}

func TestPullsAreReadFromEvents(t *testing.T) {
	ref, took, ok := pullOf(`Successfully pulled image "registry.example.com/kubernaut/datastorage:0123" in 390ms (1.2s including waiting). Image size: 1378274 bytes.`)
	if !ok || ref != "registry.example.com/kubernaut/datastorage:0123" || took.Milliseconds() != 390 {
		t.Errorf("got %s, %s, %v", ref, took, ok)
	}
	if _, _, ok := pullOf(`Container image "registry.example.com/a:1" already present on machine`); ok {
		t.Error("an image that was there counts as pulled")
	}
}

func TestEveryPlaceRefusesAPlanThatLacksAStep(t *testing.T) {
	all := stepsAt(t, Place{Cluster: Kind})
	for i, removed := range all {
		rest := slices.Delete(slices.Clone(all), i, i+1)
		if _, err := plan.Of(rest...); needed(removed, rest) != (err != nil) {
			t.Errorf("without %s: %v", removed.Name, err)
		}
	}
}
