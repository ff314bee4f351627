package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func chartWith(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["Chart.yaml"] = "apiVersion: v2\nname: example\nversion: 1.0.0\n"
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var release = Release{Name: "r", Namespace: "n", KubeVersion: "v1.37.2", Values: map[string]any{"who": "you"}}

func TestRenderSplitsByComponent(t *testing.T) {
	dir := chartWith(t, map[string]string{
		"values.yaml":      "who: nobody\n",
		"crds/thing.yaml":  "kind: CustomResourceDefinition\nmetadata: {name: things}\n",
		"templates/a.yaml": "kind: ConfigMap\nmetadata: {name: '{{ .Values.who }}', namespace: '{{ .Release.Namespace }}', labels: {app.kubernetes.io/component: one}}\n---\n# nothing\n",
		"templates/b.yaml": "kind: Secret\nmetadata: {name: '{{ .Capabilities.KubeVersion.Minor }}', labels: {app.kubernetes.io/component: two}}\n",
	})
	components, err := Render(t.Context(), dir, release)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for component, objects := range components {
		for _, u := range objects {
			got[component] = append(got[component], u.GetKind()+" "+u.GetName())
		}
	}
	want := map[string][]string{"crds": {"CustomResourceDefinition things"}, "one": {"ConfigMap you"}, "two": {"Secret 37"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, c := range map[string]struct{ template, want string }{
		"no component": {"kind: ConfigMap\nmetadata: {name: lost}\n", "ConfigMap lost has no label app.kubernetes.io/component"},
		"no YAML":      {"kind: [\n", "a.yaml"},
		"no template":  {"{{ .Values.who", "a.yaml"},
	} {
		dir := chartWith(t, map[string]string{"templates/a.yaml": c.template})
		if _, err := Render(t.Context(), dir, release); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error = %v, want it to name %q", name, err, c.want)
		}
	}
}
