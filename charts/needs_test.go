package charts

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/plan"
)

func nonEmpty(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestNothingIsMissingButWhatIsGiven compares what the objects refer to with
// what is rendered: the rest is what the values say is there already.
func TestNothingIsMissingButWhatIsGiven(t *testing.T) {
	for set, want := range map[string][]string{
		"plain": nonEmpty(`
			ConfigMap "kube-root-ca.crt" in kubernaut-system
			Namespace "kubernaut-system"
			StorageClass "(default)"
		`),
		"environment": nonEmpty(`
			ConfigMap "kubernaut-ca" in kubernaut-system
			Secret "datastorage-registry" in kubernaut-system
			Secret "datastorage-tls" in kubernaut-system
			Secret "postgresql" in kubernaut-system
			Secret "registry-htpasswd" in kubernaut-system
			Secret "registry-pull" in kubernaut-workflows
			Secret "registry-tls" in kubernaut-system
			key ".dockerconfigjson" of Secret "datastorage-registry" in kubernaut-system
			key "ca.crt" of ConfigMap "kubernaut-ca" in kubernaut-system
			key "htpasswd" of Secret "registry-htpasswd" in kubernaut-system
			key "owner-password" of Secret "postgresql" in kubernaut-system
			key "password" of Secret "redis" in kubernaut-system
			key "service-password" of Secret "postgresql" in kubernaut-system
		`),
		"large": nonEmpty(`
			API "PodMonitor.monitoring.coreos.com"
			API "PrometheusRule.monitoring.coreos.com"
			ConfigMap "kube-root-ca.crt" in kubernaut-system
			Namespace "kubernaut-system"
			Secret "pull" in kubernaut-system
			StorageClass "(default)"
			key "owner-url" of Secret "database" in kubernaut-system
			key "service-password" of Secret "database" in kubernaut-system
			key "service-url" of Secret "database" in kubernaut-system
		`),
	} {
		t.Run(set, func(t *testing.T) {
			if diff := cmp.Diff(want, missing(t, renderSet(t, set))); diff != "" {
				t.Errorf("what the chart needs (-want +got):\n%s", diff)
			}
		})
	}
}

func missing(t *testing.T, objects []*unstructured.Unstructured) []string {
	t.Helper()
	provided := map[plan.Object]bool{}
	for _, o := range append(derive.Provides(objects...), derive.Given()...) {
		provided[o] = true
	}
	needs, err := derive.Needs(objects...)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, need := range needs {
		if provided[need.Of] || need.Optional || need.Of.Kind == "Image" {
			continue
		}
		found = append(found, need.Of.String())
	}
	slices.Sort(found)
	return slices.Compact(found)
}
