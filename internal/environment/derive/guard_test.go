package derive

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const configuration = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: all}
webhooks:
- {name: apps.example, rules: [{operations: [CREATE], apiGroups: [apps], apiVersions: [v1], resources: [deployments]}]}
- {name: deletions.example, rules: [{operations: [DELETE], apiGroups: ["*"], apiVersions: ["*"], resources: ["*"]}]}
- {name: may-fail.example, failurePolicy: Ignore, rules: [{operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["*"]}]}
- {name: settings.example, objectSelector: {matchLabels: {part-of: tekton}}}
- {name: policies.example, rules: [{operations: [UPDATE], apiGroups: [example.io], apiVersions: ["*"], resources: ["*/*"]}]}
`

func TestAnObjectNeedsTheWebhooksThatAreAskedAboutIt(t *testing.T) {
	guards, err := Guards([]*unstructured.Unstructured{parse(t, configuration)}, map[string][]metav1.GroupKind{
		"settings.example": {{Kind: "ConfigMap"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ why, object, want string }{
		{"a rule of its resource", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: ns}}`, `Webhook "apps.example"`},
		{"none of its own", `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: s, namespace: ns}}`, ``},
		{"a rule filled in at run time, and a label that is selected", `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: ns, labels: {part-of: tekton}}}`, `Webhook "settings.example"`},
		{"the same without the label", `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: ns}}`, ``},
		{"any resource of its group", `{apiVersion: example.io/v1, kind: Policy, metadata: {name: p}}`, `Webhook "policies.example"`},
	} {
		t.Run(c.why, func(t *testing.T) {
			got := strings.Join(described(Guarded(guards, parse(t, c.object))), ", ")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWebhooksOfAConfiguration(t *testing.T) {
	var names []string
	for _, o := range Hooks(parse(t, configuration), parse(t, `{apiVersion: v1, kind: Service, metadata: {name: s}}`)) {
		names = append(names, o.Name)
	}
	if diff := cmp.Diff("apps.example deletions.example may-fail.example settings.example policies.example", strings.Join(names, " ")); diff != "" {
		t.Error(diff)
	}
}

func TestAnUnreadableSelectorIsNamed(t *testing.T) {
	u := parse(t, `{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: m}, webhooks: [{name: h, objectSelector: {matchExpressions: [{key: k, operator: Near}]}}]}`)
	if _, err := Guards([]*unstructured.Unstructured{u}, nil); err == nil || !strings.HasPrefix(err.Error(), `MutatingWebhookConfiguration "m": webhook h: `) {
		t.Errorf("got %v", err)
	}
}
