package observe

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/internal/environment/diagnose"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/pki"
)

func secret(name string, data map[string]string) *unstructured.Unstructured {
	encoded := map[string]any{}
	for key, value := range data {
		encoded[key] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name, "namespace": "shop", "annotations": map[string]any{
			"kubectl.kubernetes.io/last-applied-configuration": data["password"],
		}}, "data": encoded,
	}}
}

func TestNoSecretIsLeftInASnapshot(t *testing.T) {
	ca, err := pki.NewAuthority("shop", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Request{Hosts: []string{"web.shop.svc", "10.0.0.1"}, Server: true}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l := looker{objects: []*unstructured.Unstructured{
		secret("database", map[string]string{"password": "open-sesame", "username": "app"}),
		secret("tls", map[string]string{"tls.crt": string(pair.Cert), "tls.key": string(pair.Key)}),
		secret("pull", map[string]string{".dockerconfigjson": `{"auths": {"https://registry.example/v2/": {"auth": "` + base64.StdEncoding.EncodeToString([]byte("robot:cog-wheel")) + `"}}}`}),
		{Object: map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "app", "namespace": "shop"}, "spec": map[string]any{"containers": []any{
			map[string]any{"name": "app", "args": []any{"--url=postgres://app:open-sesame@db"}},
		}}}},
	}, read: []diagnose.Log{{Namespace: "shop", Pod: "app", Container: "app", Lines: []string{"login app open-sesame", "cog-wheel"}}}}
	s := diagnose.Snapshot{Steps: []diagnose.Step{{Name: "x", Error: "open-sesame"}}}

	l.fill(&s)

	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	key, _, _ := strings.Cut(strings.Split(string(pair.Key), "\n")[1], "=")
	for _, value := range []string{"open-sesame", "cog-wheel", base64.StdEncoding.EncodeToString([]byte("open-sesame")), base64.StdEncoding.EncodeToString([]byte("robot:cog-wheel")), key} {
		if strings.Contains(string(raw), value) {
			t.Errorf("the snapshot holds %q:\n%s", value, raw)
		}
	}
	login := []diagnose.Login{{Secret: plan.Object{Kind: "Secret", Namespace: "shop", Name: "pull"}, Host: "registry.example", User: "robot"}}
	if diff := cmp.Diff(login, s.Logins); diff != "" {
		t.Error(diff)
	}
	if len(s.Certificates) != 1 || !cmp.Equal(s.Certificates[0].Names, []string{"web.shop.svc", "10.0.0.1"}) {
		t.Errorf("certificates: %+v", s.Certificates)
	}
	if got := s.Logs[0].Lines; !cmp.Equal(got, []string{"login app ***", "***"}) {
		t.Errorf("the log became %q: a name is no secret, a password is", got)
	}
	if data, _, _ := unstructured.NestedStringMap(s.Objects[1].Object, "data"); s.Objects[1].GetKind() != "Secret" || data["password"] != diagnose.Masked {
		t.Errorf("the Secret lost its keys: %v", s.Objects[1].Object)
	}
}
