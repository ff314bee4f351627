package charts

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/environment/chart"
)

// values is a set of values a user may choose.
type values map[string]any

var images = values{
	"datastorage": "kubernaut.local/datastorage:1", "controller": "kubernaut.local/controller:1",
	"postgresql": "kubernaut.local/postgresql:1", "redis": "kubernaut.local/redis:1", "registry": "kubernaut.local/registry:1",
}

// valueSets are the installations that every test of this package renders.
var valueSets = map[string]values{
	"plain": {"images": images},
	"environment": {
		"images":      images,
		"namespaces":  values{"createSystem": true},
		"ca":          values{"existingConfigMap": "kubernaut-ca"},
		"postgresql":  values{"existingSecret": "postgresql", "persistence": values{"hostPath": "/data/postgresql"}},
		"redis":       values{"existingSecret": "redis", "persistence": values{"type": "emptyDir"}},
		"datastorage": values{"tls": values{"existingSecret": "datastorage-tls"}},
		"workflows":   values{"pullSecret": values{"existing": "registry-pull"}},
		"registry": values{
			"enabled": true, "clusterIP": "10.0.0.50",
			"tls": values{"existingSecret": "registry-tls"}, "auth": values{"existingSecret": "registry-htpasswd"},
			"persistence": values{"type": "emptyDir"},
		},
	},
	"large": {
		"images":           images,
		"imagePullSecrets": []any{values{"name": "pull"}},
		"nodeSelector":     values{"disk": "ssd"},
		"tolerations":      []any{values{"key": "infra", "operator": "Exists"}},
		"controller":       values{"replicas": 2},
		"datastorage":      values{"replicas": 3},
		"registry":         values{"enabled": true},
		"postgresql": values{
			"enabled":  false,
			"external": values{"existingSecret": "database", "cidrs": []any{"10.1.0.0/16"}, "port": 6432},
		},
		"redis":   values{"enabled": false},
		"network": values{"monitoringNamespace": "monitoring"},
		"monitoring": values{
			"rules": true, "dashboards": true, "podMonitor": true, "labels": values{"release": "prometheus"},
		},
	},
}

// plainMaps turns our shorthand into what Helm merges.
func plainMaps(v any) any {
	switch v := v.(type) {
	case values:
		plain := map[string]any{}
		for key, value := range v {
			plain[key] = plainMaps(value)
		}
		return plain
	case []any:
		plain := make([]any, len(v))
		for i, value := range v {
			plain[i] = plainMaps(value)
		}
		return plain
	}
	return v
}

func release(v values) chart.Release {
	return chart.Release{
		Name: "kubernaut", Namespace: v1alpha1.SystemNamespace, KubeVersion: "v1.37.2",
		Values: plainMaps(v).(map[string]any),
	}
}

func render(t *testing.T, v values) []*unstructured.Unstructured {
	t.Helper()
	components, err := chart.Render(t.Context(), "kubernaut", release(v))
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for _, name := range slices.Sorted(maps.Keys(components)) {
		objects = append(objects, components[name]...)
	}
	return objects
}

var rendered sync.Map // name of a set → its objects, which no test changes

// renderSet returns what a set of values renders; it is rendered once.
func renderSet(t *testing.T, name string) []*unstructured.Unstructured {
	t.Helper()
	if objects, ok := rendered.Load(name); ok {
		return objects.([]*unstructured.Unstructured)
	}
	objects := render(t, valueSets[name])
	rendered.Store(name, objects)
	return objects
}

// eachSet runs a test on what every set of values renders.
func eachSet(t *testing.T, test func(*testing.T, []*unstructured.Unstructured)) {
	for name := range valueSets {
		t.Run(name, func(t *testing.T) { test(t, renderSet(t, name)) })
	}
}

func TestEveryObjectIsLabelled(t *testing.T) {
	eachSet(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		for _, o := range objects {
			if o.GetKind() == "CustomResourceDefinition" {
				continue // generated; Helm does not render it
			}
			for _, label := range []string{"name", "component", "part-of", "managed-by", "version"} {
				if o.GetLabels()["app.kubernetes.io/"+label] == "" {
					t.Errorf("%s %s has no label app.kubernetes.io/%s", o.GetKind(), o.GetName(), label)
				}
			}
		}
	})
}

func TestNoObjectTwice(t *testing.T) {
	eachSet(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		seen := map[string]bool{}
		for _, o := range objects {
			key := o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
			if seen[key] {
				t.Errorf("%s is rendered twice", key)
			}
			seen[key] = true
		}
	})
}

func TestNamesAreThoseTheProgramsKnow(t *testing.T) {
	objects := renderSet(t, "environment")
	for kind, names := range map[string][]string{
		"Namespace": {"/" + v1alpha1.SystemNamespace, "/" + v1alpha1.WorkflowNamespace},
		"ServiceAccount": {
			v1alpha1.WorkflowNamespace + "/" + v1alpha1.DefaultServiceAccount, v1alpha1.SystemNamespace + "/kubernaut-controller",
			v1alpha1.SystemNamespace + "/kubernaut-cli", v1alpha1.SystemNamespace + "/datastorage",
		},
		"Service": {
			v1alpha1.SystemNamespace + "/datastorage", v1alpha1.SystemNamespace + "/registry",
			v1alpha1.SystemNamespace + "/postgresql", v1alpha1.SystemNamespace + "/redis",
		},
	} {
		for _, name := range names {
			if find(objects, kind, name) == nil {
				t.Errorf("the chart has no %s %s", kind, name)
			}
		}
	}
	runner := find(objects, "ServiceAccount", v1alpha1.WorkflowNamespace+"/"+v1alpha1.DefaultServiceAccount)
	if runner.GetLabels()[v1alpha1.LabelForWorkflows] != "true" {
		t.Errorf("the runner's account has no label %s", v1alpha1.LabelForWorkflows)
	}
	pull, _, err := unstructured.NestedSlice(runner.Object, "imagePullSecrets")
	if err != nil || len(pull) != 1 || pull[0].(map[string]any)["name"] != v1alpha1.DefaultPullSecret {
		t.Errorf("the runner pulls with %v (%v), want %s", pull, err, v1alpha1.DefaultPullSecret)
	}
}

// find returns the object of that kind and namespace/name, nil when there is none.
func find(objects []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	for _, o := range objects {
		if o.GetKind() == kind && o.GetNamespace()+"/"+o.GetName() == name {
			return o
		}
	}
	return nil
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*chart.Release)
		want   string
	}{
		"no image":        {func(r *chart.Release) { delete(r.Values, "images") }, "images.datastorage: name the image to run"},
		"other namespace": {func(r *chart.Release) { r.Namespace = "default" }, "helm install --namespace kubernaut-system"},
		"unknown value":   {func(r *chart.Release) { r.Values["datastorge"] = map[string]any{} }, "datastorge"},
		"unknown storage": {
			func(r *chart.Release) {
				r.Values["redis"] = map[string]any{"persistence": map[string]any{"type": "tape"}}
			}, "persistence/type",
		},
		"old cluster": {func(r *chart.Release) { r.KubeVersion = "v1.35.4" }, "upgrade it to 1.36, or install with identity.enabled=false"},
		"no database": {
			func(r *chart.Release) { r.Values["postgresql"] = map[string]any{"enabled": false} },
			"postgresql.external.existingSecret: name the Secret",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := release(valueSets["plain"])
			c.change(&r)
			if _, err := chart.Render(t.Context(), "kubernaut", r); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestMigrationIsAnotherJobForAnotherImage(t *testing.T) {
	name := func(image string) string {
		changed := maps.Clone(images)
		changed["datastorage"] = image
		for _, o := range render(t, values{"images": changed}) {
			if o.GetKind() == "Job" {
				return o.GetName()
			}
		}
		t.Fatal("the chart has no Job")
		return ""
	}
	if a, b := name("a:1"), name("a:2"); a == b {
		t.Errorf("two images give one Job %s", a)
	}
	if a, b := name("a:1"), name("a:1"); a != b {
		t.Errorf("one image gives two Jobs, %s and %s", a, b)
	}
}

func TestOlderClusterWithoutIdentity(t *testing.T) {
	r := release(values{"images": images, "identity": values{"enabled": false}})
	r.KubeVersion = "v1.35.4"
	components, err := chart.Render(t.Context(), "kubernaut", r)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range components["policies"] {
		if strings.HasPrefix(o.GetKind(), "Mutating") {
			t.Errorf("%s %s is for Kubernetes 1.36", o.GetKind(), o.GetName())
		}
	}
	if len(components["policies"]) == 0 {
		t.Error("the right to remediate is not asked for")
	}
}
