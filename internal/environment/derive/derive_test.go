package derive

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

func described(needs []plan.Need) []string {
	var lines []string
	for _, n := range needs {
		line := n.Of.String()
		if n.Optional {
			line += " (optional)"
		}
		lines = append(lines, line)
	}
	return lines
}

const workload = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: datastorage, namespace: kubernaut-system}
spec:
  template:
    spec:
      serviceAccountName: datastorage
      priorityClassName: system-cluster-critical
      imagePullSecrets: [{name: pull}]
      initContainers:
      - {name: init, image: kubernaut.local/tools:0123456789ab}
      containers:
      - name: main
        image: registry.example/datastorage:1
        envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: maybe, optional: true}}]
        env:
        - {name: PLAIN, value: x}
        - {name: DATABASE_URL, valueFrom: {secretKeyRef: {name: postgresql, key: url}}}
        - {name: LEVEL, valueFrom: {configMapKeyRef: {name: settings, key: level, optional: true}}}
        - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
      volumes:
      - {name: tls, secret: {secretName: tls, items: [{key: tls.crt, path: crt}]}}
      - {name: config, configMap: {name: config, optional: true}}
      - {name: data, persistentVolumeClaim: {claimName: data}}
      - name: token
        projected:
          sources: [{serviceAccountToken: {path: token}}, {configMap: {name: ca}}, {secret: {name: more, items: [{key: a, path: b}]}}]
`

func TestNeedsOfAWorkload(t *testing.T) {
	needs, err := Needs(parse(t, workload))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`Namespace "kubernaut-system"`,
		`ServiceAccount "datastorage" in kubernaut-system`,
		`ConfigMap "kube-root-ca.crt" in kubernaut-system`,
		`Secret "pull" in kubernaut-system`,
		`PriorityClass "system-cluster-critical"`,
		`Image "kubernaut.local/tools"`,
		`Image "registry.example/datastorage:1"`,
		`ConfigMap "settings" in kubernaut-system`,
		`Secret "maybe" in kubernaut-system (optional)`,
		`key "url" of Secret "postgresql" in kubernaut-system`,
		`key "level" of ConfigMap "settings" in kubernaut-system (optional)`,
		`Secret "tls" in kubernaut-system`,
		`key "tls.crt" of Secret "tls" in kubernaut-system`,
		`ConfigMap "config" in kubernaut-system (optional)`,
		`PersistentVolumeClaim "data" in kubernaut-system`,
		`ConfigMap "ca" in kubernaut-system`,
		`Secret "more" in kubernaut-system`,
		`key "a" of Secret "more" in kubernaut-system`,
	}
	if diff := cmp.Diff(want, described(needs)); diff != "" {
		t.Error(diff)
	}
	if by := needs[9].By.String(); by != `Deployment "datastorage" in kubernaut-system` {
		t.Errorf("the need is said to come from %s", by)
	}
}

func TestNeedsOfOtherObjects(t *testing.T) {
	cases := []struct{ why, object, want string }{
		{"a pod without an account uses the namespace's default one", `{apiVersion: batch/v1, kind: CronJob, metadata: {name: c, namespace: ns}, spec: {jobTemplate: {spec: {template: {spec: {automountServiceAccountToken: false, containers: [{image: i}]}}}}}}`,
			`Namespace "ns", ServiceAccount "default" in ns, Image "i"`},
		{"a custom resource needs its kind", `{apiVersion: tekton.dev/v1, kind: Pipeline, metadata: {name: p, namespace: ns}}`,
			`Namespace "ns", API "Pipeline.tekton.dev"`},
		{"an account needs its pull secrets", `{apiVersion: v1, kind: ServiceAccount, metadata: {name: a, namespace: ns}, imagePullSecrets: [{name: pull}]}`,
			`Namespace "ns", Secret "pull" in ns`},
		{"a role of the namespace", `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: b, namespace: ns}, roleRef: {kind: Role, name: r}}`,
			`Namespace "ns", Role "r" in ns`},
		{"a role of the cluster", `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: b}, roleRef: {kind: ClusterRole, name: view}}`,
			`ClusterRole "view"`},
		{"a claim's class", `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: ns}, spec: {storageClassName: fast}}`,
			`Namespace "ns", StorageClass "fast"`},
		{"a claim without a class", `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: ns}, spec: {}}`,
			`Namespace "ns", StorageClass "(default)"`},
		{"a claim of one volume", `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: ns}, spec: {storageClassName: "", volumeName: v}}`,
			`Namespace "ns", PersistentVolume "v"`},
		{"a StatefulSet's claims", `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: s, namespace: ns}, spec: {volumeClaimTemplates: [{spec: {storageClassName: fast}}], template: {spec: {serviceAccountName: a, automountServiceAccountToken: false}}}}`,
			`Namespace "ns", ServiceAccount "a" in ns, StorageClass "fast"`},
		{"a webhook's service", `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: w}, webhooks: [{clientConfig: {service: {name: s, namespace: ns}}}, {clientConfig: {url: "https://x"}}]}`,
			`Service "s" in ns`},
		{"a policy's binding", `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: b}, spec: {policyName: p}}`,
			`ValidatingAdmissionPolicy "p"`},
		{"a scaler's target", `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: h, namespace: ns}, spec: {scaleTargetRef: {kind: Deployment, name: d}}}`,
			`Namespace "ns", Deployment "d" in ns`},
		{"an aggregated API's service", `{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a}, spec: {service: {name: s, namespace: ns}}}`,
			`Service "s" in ns`},
		{"what refers to nothing", `{apiVersion: v1, kind: Namespace, metadata: {name: ns}}`, ``},
	}
	for _, c := range cases {
		t.Run(c.why, func(t *testing.T) {
			needs, err := Needs(parse(t, c.object))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, strings.Join(described(needs), ", ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnreadableWorkloadIsNamed(t *testing.T) {
	for _, spec := range []string{"{}", "{template: {spec: {containers: 3}}}"} {
		_, err := Needs(parse(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: ns}, spec: "+spec+"}"))
		if err == nil || !strings.HasPrefix(err.Error(), `Deployment "d" in ns: `) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

func TestProvides(t *testing.T) {
	cases := []struct{ object, want string }{
		{`{apiVersion: v1, kind: Namespace, metadata: {name: ns}}`,
			`ConfigMap "kube-root-ca.crt" in ns, Namespace "ns", ServiceAccount "default" in ns, key "ca.crt" of ConfigMap "kube-root-ca.crt" in ns`},
		{`{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: ns}, data: {a: eA==}, stringData: {a: x, b: y}}`,
			`Secret "s" in ns, key "a" of Secret "s" in ns, key "b" of Secret "s" in ns`},
		{`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: tasks.tekton.dev}, spec: {group: tekton.dev, names: {kind: Task}}}`,
			`API "Task.tekton.dev", CustomResourceDefinition "tasks.tekton.dev"`},
	}
	for _, c := range cases {
		var got []string
		for _, o := range Provides(parse(t, c.object)) {
			got = append(got, o.String())
		}
		slices.Sort(got)
		if diff := cmp.Diff(c.want, strings.Join(got, ", ")); diff != "" {
			t.Error(diff)
		}
	}
}

func TestEveryClusterGivesTheImplicitObjects(t *testing.T) {
	pod := parse(t, `{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: default}, spec: {containers: []}}`)
	needs, err := Needs(pod)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Of(plan.Step{Name: "cluster", Provides: Given()}, plan.Step{Name: "pod", Provides: Provides(pod), Needs: needs}); err != nil {
		t.Error(err)
	}
}

func TestDeriveCannotAct(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(out)) {
		if p == "context" || p == "os" || p == "time" || strings.HasPrefix(p, "net") || strings.Contains(p, "client-go") {
			t.Errorf("package derive imports %s", p)
		}
	}
}

func TestAJobNamesItsContent(t *testing.T) {
	const job = "{apiVersion: batch/v1, kind: Job, metadata: {name: NAME, namespace: ns}, spec: {template: {spec: {containers: [{image: i}]}}}}"
	if err := Unchangeable(parse(t, strings.Replace(job, "NAME", "migration-0123456789", 1))); err != nil {
		t.Error(err)
	}
	err := Unchangeable(parse(t, strings.Replace(job, "NAME", "migration", 1)))
	if err == nil || !strings.HasPrefix(err.Error(), `Job "migration" in ns: `) {
		t.Errorf("got %v", err)
	}
}
