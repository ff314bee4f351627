package upstream

import (
	"os/exec"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/internal/environment/manifest"
)

// moduleConfig is the config/ folder of the Tekton module that node/tekton pins.
func moduleConfig(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", "github.com/tektoncd/pipeline@"+TektonVersion)
	cmd.Dir = "../../../node/tekton"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("getting Tekton's module: %v\n%s", err, out)
	}
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tektoncd/pipeline")
	list.Dir = cmd.Dir
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)) + "/config"
}

func tekton(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	manifests, err := manifest.ReadFolder(moduleConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := Tekton(TektonOptions{
		Manifests: manifests,
		Image:     func(command string) string { return "images.test/" + command + ":1" },
		Shell:     "images.test/shell:1",
		CA:        []byte("the CA"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func find(t *testing.T, objects []*unstructured.Unstructured, kind, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	for _, u := range objects {
		if u.GetKind() == kind && u.GetNamespace() == namespace && u.GetName() == name {
			return u
		}
	}
	t.Fatalf("no %s %s/%s", kind, namespace, name)
	return nil
}

func text(t *testing.T, u *unstructured.Unstructured, path ...string) string {
	t.Helper()
	s, ok, err := unstructured.NestedString(u.Object, path...)
	if !ok || err != nil {
		t.Fatalf("%s %s has no %s: %v", u.GetKind(), u.GetName(), strings.Join(path, "."), err)
	}
	return s
}

func TestTektonUsesOurImages(t *testing.T) {
	asked := map[string]bool{}
	for _, u := range tekton(t) {
		raw, err := u.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range TektonCommands {
			if strings.Contains(string(raw), "images.test/"+command+":1") {
				asked[command] = true
			}
		}
		if strings.Contains(string(raw), "cgr.dev") {
			t.Errorf("%s %s names an image of the outside", u.GetKind(), u.GetName())
		}
	}
	for _, command := range TektonCommands {
		if !asked[command] {
			t.Errorf("no manifest uses the image of %s", command)
		}
	}
}

func TestTektonTrustsTheRegistry(t *testing.T) {
	objects := tekton(t)
	for _, namespace := range []string{TektonNamespace, ResolversNamespace} {
		if got := text(t, find(t, objects, "ConfigMap", namespace, certificates), "data", "cert"); got != "the CA" {
			t.Errorf("the CA in %s is %q", namespace, got)
		}
	}
	resolvers := find(t, objects, "Deployment", ResolversNamespace, "tekton-pipelines-remote-resolvers")
	raw, err := resolvers.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"SSL_CERT_FILE"`, `"mountPath":"/etc/config-registry-cert"`, `"configMap":{"name":"config-registry-cert"}`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("the resolvers' Deployment lacks %s", want)
		}
	}
	if strings.Contains(string(raw), "tini") {
		t.Error("the resolvers' Deployment still runs tini")
	}
}

func TestTektonSetsSecurityContexts(t *testing.T) {
	flags := find(t, tekton(t), "ConfigMap", TektonNamespace, "feature-flags")
	if got := text(t, flags, "data", "set-security-context"); got != "true" {
		t.Errorf("set-security-context is %q", got)
	}
}

func TestTektonRefusesToBeEmpty(t *testing.T) {
	if _, err := Tekton(TektonOptions{}); err == nil || !strings.Contains(err.Error(), "no ConfigMap feature-flags") {
		t.Errorf("error = %v", err)
	}
}

func TestCoreDNS(t *testing.T) {
	objects, err := CoreDNS("images.test/coredns:1", "10.96.0.10")
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, find(t, objects, "Service", "kube-system", "kube-dns"), "spec", "clusterIP"); got != "10.96.0.10" {
		t.Errorf("clusterIP = %q", got)
	}
	find(t, objects, "Deployment", "kube-system", "coredns")
}
