package readiness

import (
	"fmt"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/build"
)

// running is the one API server of all tests here; each test has a namespace of
// its own. No controller and no kubelet run: the tests write the states.
var running *Cluster

func TestMain(m *testing.M) {
	code, err := withServer(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withServer(m *testing.M) (code int, err error) {
	if short() {
		return m.Run(), nil
	}
	cache, err := build.Open()
	if err != nil {
		return 0, err
	}
	assets, err := build.Assets(cache)
	if err != nil {
		return 0, err
	}
	server := &envtest.Environment{BinaryAssetsDirectory: assets}
	cfg, err := server.Start()
	if err != nil {
		return 0, fmt.Errorf("starting an API server: %w", err)
	}
	defer func() { err = server.Stop() }()
	if running, err = New(cfg); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// short is testing.Short, which may not be asked before the flags are parsed.
func short() bool {
	for _, arg := range os.Args[1:] {
		if strings.TrimLeft(arg, "-") == "test.short=true" || strings.TrimLeft(arg, "-") == "test.short" {
			return true
		}
	}
	return false
}

// world is one test's namespace.
type world struct {
	*testing.T
	namespace string
}

func newWorld(t *testing.T) world {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Kubernetes API server: run make test")
	}
	w := world{T: t}
	made := w.create("{apiVersion: v1, kind: Namespace, metadata: {generateName: readiness-}}")
	w.namespace = made.GetName()
	return w
}

func (w world) parse(text string) *unstructured.Unstructured {
	w.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		w.Fatal(err)
	}
	if u.GetNamespace() == "" {
		u.SetNamespace(w.namespace)
	}
	return u
}

func (w world) create(text string) *unstructured.Unstructured {
	w.Helper()
	u := w.parse(text)
	r, err := running.Resource(u)
	if err != nil {
		w.Fatal(err)
	}
	made, err := r.Create(w.Context(), u, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
	if status, ok := u.Object["status"]; ok {
		return w.setStatus(made, status)
	}
	return made
}

func (w world) setStatus(u *unstructured.Unstructured, status any) *unstructured.Unstructured {
	w.Helper()
	r, err := running.Resource(u)
	if err != nil {
		w.Fatal(err)
	}
	now, err := r.Get(w.Context(), u.GetName(), metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	now.Object["status"] = status
	updated, err := r.UpdateStatus(w.Context(), now, metav1.UpdateOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return updated
}

func (w world) remove(u *unstructured.Unstructured) {
	w.Helper()
	r, err := running.Resource(u)
	if err != nil {
		w.Fatal(err)
	}
	if err := r.Delete(w.Context(), u.GetName(), metav1.DeleteOptions{}); err != nil {
		w.Fatal(err)
	}
}

// status reads the status of an object from YAML.
func (w world) status(text string) any { return w.parse(text).Object["status"] }
