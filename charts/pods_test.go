package charts

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// workload is a pod template and what it belongs to.
type workload struct {
	name      string // kind/name
	namespace string
	forever   bool // it runs until it is stopped
	pod       corev1.PodTemplateSpec
}

func workloads(t *testing.T, objects []*unstructured.Unstructured) []workload {
	t.Helper()
	var found []workload
	for _, o := range objects {
		template, ok, err := unstructured.NestedMap(o.Object, "spec", "template")
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			continue
		}
		w := workload{name: o.GetKind() + "/" + o.GetName(), namespace: o.GetNamespace(), forever: o.GetKind() != "Job"}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(template, &w.pod, true); err != nil {
			t.Fatalf("%s: %v", w.name, err)
		}
		found = append(found, w)
	}
	if len(found) == 0 {
		t.Fatal("the chart renders no pods")
	}
	return found
}

func eachContainer(t *testing.T, check func(*testing.T, workload, corev1.Container)) {
	eachSet(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		for _, w := range workloads(t, objects) {
			for _, c := range w.pod.Spec.Containers {
				check(t, w, c)
			}
			if len(w.pod.Spec.InitContainers) > 0 {
				t.Errorf("%s has init containers, which no test looks at", w.name)
			}
		}
	})
}

func TestContainersAreRestricted(t *testing.T) {
	eachContainer(t, func(t *testing.T, w workload, c corev1.Container) {
		s := c.SecurityContext
		switch {
		case s == nil:
			t.Errorf("%s: container %s has no security context", w.name, c.Name)
		case s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation:
			t.Errorf("%s: container %s may gain privileges", w.name, c.Name)
		case s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0:
			t.Errorf("%s: container %s keeps capabilities", w.name, c.Name)
		case s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem:
			t.Errorf("%s: container %s may write to its image", w.name, c.Name)
		}
	})
}

func TestPodsAreRestricted(t *testing.T) {
	eachSet(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		for _, w := range workloads(t, objects) {
			s := w.pod.Spec.SecurityContext
			switch {
			case s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser == 0:
				t.Errorf("%s may run as root", w.name)
			case s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
				t.Errorf("%s has no seccomp profile", w.name)
			case w.pod.Spec.HostNetwork || w.pod.Spec.HostPID || w.pod.Spec.HostIPC:
				t.Errorf("%s shares a namespace with its node", w.name)
			}
			for _, v := range w.pod.Spec.Volumes {
				if v.HostPath != nil {
					t.Errorf("%s mounts %s of its node", w.name, v.HostPath.Path)
				}
			}
		}
	})
}

// TestTokensAreForThoseWhoUseThem: only these two speak to the API server.
func TestTokensAreForThoseWhoUseThem(t *testing.T) {
	speakers := []string{"Deployment/datastorage", "Deployment/kubernaut-controller"}
	eachSet(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		for _, w := range workloads(t, objects) {
			mounted := w.pod.Spec.AutomountServiceAccountToken
			if want := slices.Contains(speakers, w.name); mounted == nil || *mounted != want {
				t.Errorf("%s: automountServiceAccountToken is %v, want %v", w.name, mounted, want)
			}
			if name := w.pod.Spec.ServiceAccountName; name == "" || name == "default" {
				t.Errorf("%s has no account of its own", w.name)
			}
		}
	})
}

func TestContainersHaveResourcesAndProbes(t *testing.T) {
	eachContainer(t, func(t *testing.T, w workload, c corev1.Container) {
		for _, missing := range []struct {
			what string
			is   bool
		}{
			{"a CPU request", c.Resources.Requests.Cpu().IsZero()},
			{"a memory request", c.Resources.Requests.Memory().IsZero()},
			{"a memory limit", c.Resources.Limits.Memory().IsZero()},
			{"a startup probe", w.forever && c.StartupProbe == nil},
			{"a readiness probe", w.forever && c.ReadinessProbe == nil},
			{"a liveness probe", w.forever && c.LivenessProbe == nil},
		} {
			if missing.is {
				t.Errorf("%s: container %s has no %s", w.name, c.Name, missing.what)
			}
		}
	})
}

func TestSelectorsFindTheirPods(t *testing.T) {
	eachSet(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		pods := workloads(t, objects)
		for _, o := range objects {
			var selector map[string]string
			switch o.GetKind() {
			case "Service":
				selector, _, _ = unstructured.NestedStringMap(o.Object, "spec", "selector")
			case "PodDisruptionBudget", "Deployment", "StatefulSet":
				selector, _, _ = unstructured.NestedStringMap(o.Object, "spec", "selector", "matchLabels")
			default:
				continue
			}
			var found []string
			for _, w := range pods {
				if selects(selector, w.pod.Labels) {
					found = append(found, w.name)
				}
			}
			if len(found) != 1 {
				t.Errorf("%s %s selects %q, want one workload", o.GetKind(), o.GetName(), found)
			}
		}
	})
}

func selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return true
}

// TestAddressesLeadToServices looks for host names in everything that is
// rendered: each is a Service of the chart, and the port is one of its ports.
func TestAddressesLeadToServices(t *testing.T) {
	address := regexp.MustCompile(`([a-z0-9-]+)\.kubernaut-system\.svc:([0-9]+)`)
	eachSet(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		ports := map[string]bool{}
		for _, o := range objects {
			if o.GetKind() != "Service" {
				continue
			}
			list, _, _ := unstructured.NestedSlice(o.Object, "spec", "ports")
			for _, port := range list {
				ports[o.GetName()+":"+jsonText(t, port.(map[string]any)["port"])] = true
			}
		}
		for _, o := range objects {
			for _, found := range address.FindAllStringSubmatch(jsonText(t, o.Object), -1) {
				if !ports[found[1]+":"+found[2]] {
					t.Errorf("%s %s speaks to %s, which is no Service of the chart", o.GetKind(), o.GetName(), found[0])
				}
			}
		}
	})
}

// TestHostNamesComeFromOneHelper: a name typed twice is a name that differs one day.
func TestHostNamesComeFromOneHelper(t *testing.T) {
	files, err := filepath.Glob("kubernaut/templates/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("templates: %q, %v", files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if count := strings.Count(string(content), ".svc"); count > 0 && filepath.Base(file) != "_helpers.tpl" {
			t.Errorf("%s spells out %d host names; use the helper kubernaut.host", file, count)
		}
	}
}
