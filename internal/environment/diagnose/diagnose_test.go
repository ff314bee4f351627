package diagnose

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// What a real cluster showed while a fault was in it, and what is said of it:
// testdata/recorded/<fault>.yaml and .txt. The faults are those of test/e2e/faults; where
// KUBERNAUT_UPDATE is set, the texts are written anew.
func TestRecordedFaults(t *testing.T) {
	recorded, err := filepath.Glob("testdata/recorded/*.yaml")
	if err != nil || len(recorded) < 30 {
		t.Fatalf("%d recorded faults, %v", len(recorded), err)
	}
	for _, path := range recorded {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			var s Snapshot
			read(t, path, &s)
			d := Of(s)
			if len(d.Findings) != 1 {
				t.Errorf("%d causes, one was injected", len(d.Findings))
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".txt", d.Text())
		})
	}
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(raw, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("KUBERNAUT_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

// codes reads the codes from the source, so that none can be forgotten.
func codes(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			all = append(all, v.Names[0].Name)
		}
		return true
	})
	return all
}

func TestEveryCodeIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../../docs/diagnosis.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range codes(t) {
		if !strings.Contains(string(raw), "| `"+code+"` |") {
			t.Errorf("docs/diagnosis.md has no line for %s", code)
		}
	}
}

// objects reads a snapshot's objects from YAML documents.
func objects(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for _, document := range strings.Split(text, "\n---\n") {
		u := &unstructured.Unstructured{}
		raw, err := yaml.YAMLToJSON([]byte(document))
		if err == nil {
			err = u.UnmarshalJSON(raw)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	return all
}

const pod = `{apiVersion: v1, kind: Pod, metadata: {name: web-1, namespace: shop, labels: {app: web}}, spec: {nodeName: node-1, containers: [{name: main, image: web}]}, status: {phase: Running, containerStatuses: [{name: main, image: web, ready: false, restartCount: 3, STATE}]}}`

const crashed = `containerID: a, state: {waiting: {reason: CrashLoopBackOff, message: back-off 40s restarting failed container=main}}, lastState: {terminated: {exitCode: 1, reason: Error}}`

// dies diagnoses a pod that crashed after these lines, beside other objects.
func dies(t *testing.T, more string, lines ...string) Diagnosis {
	t.Helper()
	text := strings.Replace(pod, "STATE", crashed, 1)
	if more != "" {
		text += "\n---\n" + more
	}
	return Of(Snapshot{
		Taken: time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC), Namespaces: []string{"shop"}, Objects: objects(t, text),
		Logs: []Log{{Namespace: "shop", Pod: "web-1", Container: "main", Previous: true, Lines: lines}},
	})
}

func TestWhatProgramsSay(t *testing.T) {
	const service = `{apiVersion: v1, kind: Service, metadata: {name: database, namespace: shop}, spec: {clusterIP: 10.96.0.7, ports: [{port: 5432}]}}`
	for _, c := range []struct {
		why, line, more string
		code            Code
		says            string
	}{
		{"pgx", `{"level":"ERROR","error":"failed to connect: FATAL: password authentication failed for user \"app\" (SQLSTATE 28P01)"}`, "", WrongPassword, `as "app"`},
		{"Redis", `WRONGPASS invalid username-password pair or user is disabled.`, "", WrongPassword, "password"},
		{"Go's resolver", `dial tcp: lookup databse on 10.96.0.10:53: no such host`, service, HostUnknown, "there is database"},
		{"glibc's resolver", `psql: error: could not translate host name "databse" to address: Name or service not known`, service, HostUnknown, "there is database"},
		{"busybox", `wget: bad address 'databse.shop.svc:80'`, service, HostUnknown, "there is database"},
		{"a name that exists", `dial tcp: lookup database.shop.svc on 10.96.0.10:53: no such host`, service, HostUnknown, "the cluster's DNS does not answer"},
		{"a name outside", `curl: (6) Could not resolve host: example.org`, "", HostUnknown, "example.org"},
		{"Go's TLS", `x509: certificate has expired or is not yet valid: current time 2026-11-25 is after 2025-01-01`, "", CertificateExpired, "expired"},
		{"another name", `tls: x509: certificate is valid for a.example, b.example, not c.example`, "", CertificateOtherName, "calls c.example"},
		{"OpenSSL", `SSL error: certificate verify failed`, "", AuthorityUnknown, "authority"},
		{"a port", `listen tcp :8080: bind: address already in use`, "", PortInUse, "8080"},
		{"a disk", `write /data/x: no space left on device`, "", DiskFull, "full"},
		{"a peer", `dial tcp 10.96.0.7:5432: connect: connection refused`, "", PeerRefuses, "10.96.0.7:5432"},
		{"libpq", `connection to server at "database" (10.96.0.7), port 5432 failed: Connection refused`, "", PeerRefuses, "database:5432"},
		{"psql", `psql:/init/a.sql:3: ERROR:  syntax error at or near "CREAT"`, "", SQLFailed, "line 3"},
		{"goose", `migrating from version 0: partial migration error (type:sql,version:2): ERROR: relation "x" already exists (SQLSTATE 42P07)`, "", MigrationFailed, "migration 2"},
		{"nothing known", `panic: nobody knows`, "", ContainerCrash, "panic: nobody knows"},
	} {
		t.Run(c.why, func(t *testing.T) {
			d := dies(t, c.more, "starting", c.line)
			if len(d.Findings) != 1 || d.Findings[0].Code != c.code || !strings.Contains(d.Findings[0].Sentence, c.says) {
				t.Fatalf("want %s that says %q, got\n%s", c.code, c.says, d.Text())
			}
			if !d.Findings[0].Hopeless {
				t.Error("a container that ended four times is hopeless")
			}
		})
	}
}

func TestAConsequenceIsNotACause(t *testing.T) {
	const database = `{apiVersion: v1, kind: Service, metadata: {name: database, namespace: shop}, spec: {selector: {app: database}, clusterIP: 10.96.0.7, ports: [{port: 5432}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: database-0, namespace: shop, labels: {app: database}}, spec: {containers: [{name: main, image: x}]}, status: {phase: Pending, containerStatuses: [{name: main, image: x, ready: false, state: {waiting: {reason: ImagePullBackOff, message: "x: not found"}}}]}}`
	d := dies(t, database, "dial tcp 10.96.0.7:5432: connect: connection refused")
	if len(d.Findings) != 1 || d.Findings[0].Code != ImageAbsent {
		t.Errorf("want the image of the database alone, got\n%s", d.Text())
	}
}

func TestTwoCausesAreBothNamed(t *testing.T) {
	const other = `{apiVersion: v1, kind: Pod, metadata: {name: other, namespace: shop}, spec: {containers: [{name: main, image: x}]}, status: {phase: Pending, containerStatuses: [{name: main, image: x, ready: false, state: {waiting: {reason: ImagePullBackOff, message: "x: not found"}}}]}}`
	d := dies(t, other, "cannot read /etc/settings")
	if len(d.Findings) != 2 {
		t.Errorf("want two causes, got\n%s", d.Text())
	}
}

func TestWhatIsNotAppliedYetIsNoCause(t *testing.T) {
	const service = `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, clusterIP: 10.96.0.8, ports: [{port: 80}]}}
---
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: guard}, webhooks: [{name: guard.example.com, clientConfig: {service: {name: web, namespace: shop}}}]}`
	s := Snapshot{Namespaces: []string{"shop"}, Objects: objects(t, service)}
	if d := Of(s); len(d.Findings) != 1 || d.Findings[0].Code != ServiceSelectsNothing {
		t.Errorf("want the Service alone, got\n%s", d.Text())
	}
	s.Unreadable = []string{"Deployment", "EndpointSlice"}
	if d := Of(s); len(d.Findings) != 0 {
		t.Errorf("the workload may be one that could not be read, got\n%s", d.Text())
	}
	s.Unreadable, s.Unfinished = nil, true
	if d := Of(s); len(d.Findings) != 0 {
		t.Errorf("the workload may still come, got\n%s", d.Text())
	}
	s.Steps = []Step{{Name: "tasks", Error: `applying Task "x": Internal error occurred: failed calling webhook "guard.example.com": no endpoints available for service "web"`}}
	if d := Of(s); len(d.Findings) != 1 || d.Findings[0].Object.Name != "web" {
		t.Errorf("want the Service that the step suffers from, got\n%s", d.Text())
	}
}

func TestWhatSomebodyRemovedIsTheCause(t *testing.T) {
	const service = `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, clusterIP: 10.96.0.8, ports: [{port: 80}]}}
---
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: guard}, webhooks: [{name: guard.example.com, clientConfig: {service: {name: web, namespace: shop}}}]}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}`
	namespace := plan.Object{Kind: "Namespace", Name: "shop"}
	web := plan.Object{Kind: "Deployment", Namespace: "shop", Name: "web"}
	s := Snapshot{Namespaces: []string{"shop"}, Objects: objects(t, service), Awaited: []plan.Object{namespace, web}}
	if d := Of(s); len(d.Findings) != 1 || d.Findings[0].Code != NameUnknown || d.Findings[0].Object != web {
		t.Errorf("want the Deployment, and not its Service, got\n%s", d.Text())
	}
	s.Objects = s.Objects[:0]
	if d := Of(s); len(d.Findings) != 1 || d.Findings[0].Code != NameUnknown || d.Findings[0].Object != namespace {
		t.Errorf("want the namespace, and not what was in it, got\n%s", d.Text())
	}
}

func TestWhatSomebodyScaledToZeroIsTheCause(t *testing.T) {
	const stopped = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: 0, template: {metadata: {labels: {app: web}}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{port: 80}]}}`
	web := plan.Object{Kind: "Deployment", Namespace: "shop", Name: "web"}
	s := Snapshot{Namespaces: []string{"shop"}, Objects: objects(t, stopped), Awaited: []plan.Object{web}}
	d := Of(s)
	if len(d.Findings) != 1 || d.Findings[0].Code != ScaledToZero || d.Findings[0].Object != web {
		t.Errorf("want the Deployment, got\n%s", d.Text())
	}
	s.Awaited = nil // then nobody said that it should run
	if d := Of(s); len(d.Findings) != 0 {
		t.Errorf("want nothing, got\n%s", d.Text())
	}
}

func TestReplicasAreOneCause(t *testing.T) {
	const set = `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: web, namespace: shop}, spec: {replicas: 2}}`
	owned := func(name string) string {
		p := strings.Replace(strings.Replace(pod, "STATE", crashed, 1), "name: web-1,", "name: "+name+", ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, controller: true}],", 1)
		return p
	}
	d := Of(Snapshot{Namespaces: []string{"shop"}, Objects: objects(t, strings.Join([]string{set, owned("web-0"), owned("web-1")}, "\n---\n"))})
	want := plan.Object{Kind: "StatefulSet", Namespace: "shop", Name: "web"}
	if len(d.Findings) != 1 || d.Findings[0].Object != want {
		t.Errorf("want one cause at %s, got\n%s", want, d.Text())
	}
}

func TestAJobThatIsOverWaitsForNothing(t *testing.T) {
	const over = `{apiVersion: batch/v1, kind: Job, metadata: {name: heal, namespace: shop}, status: {conditions: [{type: Failed, status: "True", reason: DeadlineExceeded}]}}`
	if d := Of(Snapshot{Namespaces: []string{"shop"}, Objects: objects(t, over)}); len(d.Waiting) != 0 || len(d.Findings) != 0 {
		t.Errorf("got\n%s", d.Text())
	}
}

func TestWhatIsOnlySlowIsWaitedFor(t *testing.T) {
	const starting = `{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}, spec: {containers: [{name: main, image: x}]}, status: {phase: Pending, containerStatuses: [{name: main, image: x, ready: false, state: {waiting: {reason: ContainerCreating}}}]}}`
	d := Of(Snapshot{Namespaces: []string{"shop"}, Objects: objects(t, starting)})
	want := []Waiting{{plan.Object{Kind: "Pod", Namespace: "shop", Name: "web"}, "pod web: Pending, container main waits: ContainerCreating"}}
	if diff := cmp.Diff(want, d.Waiting); diff != "" || len(d.Findings) > 0 {
		t.Errorf("%s\n%s", diff, d.Text())
	}
}

func TestAServerThatIsGoneIsTheOnlyCause(t *testing.T) {
	d := Of(Snapshot{
		Namespaces: []string{"shop"}, Awaited: []plan.Object{{Kind: "Namespace", Name: "shop"}},
		Server: Server{Address: "https://127.0.0.1:16443", Error: "connection refused", Components: []Component{{Name: "etcd", Problem: "exit status 1", Log: "/x/etcd.log", Lines: []string{"a", "panic: b"}}}},
	})
	if len(d.Findings) != 1 || d.Findings[0].Code != ServerGone || !strings.Contains(d.Findings[0].Sentence, "etcd (exit status 1)") {
		t.Errorf("got\n%s", d.Text())
	}
}

func TestAbsentWhereNothingCouldBeReadSaysNothing(t *testing.T) {
	const refers = `{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}, spec: {containers: [{name: main, image: x, envFrom: [{secretRef: {name: s}}]}]}, status: {phase: Pending, containerStatuses: [{name: main, ready: false, state: {waiting: {reason: CreateContainerConfigError, message: m}}}]}}`
	s := Snapshot{Namespaces: []string{"shop"}, Objects: objects(t, refers)}
	if d := Of(s); len(d.Findings) != 1 || d.Findings[0].Code != ReferenceMissing {
		t.Errorf("got\n%s", d.Text())
	}
	s.Awaited = []plan.Object{{Kind: "Secret", Namespace: "shop", Name: "s"}}
	if d := Of(s); len(d.Findings) != 1 || d.Findings[0].Code != ReferenceMissing {
		t.Errorf("want it once, got\n%s", d.Text())
	}
	s.Unreadable = []string{"Secret"}
	if d := Of(s); len(d.Findings) != 0 || !strings.Contains(d.Text(), "could not be read: Secret") {
		t.Errorf("got\n%s", d.Text())
	}
}

func TestADiskThatIsFull(t *testing.T) {
	const full = `{apiVersion: v1, kind: Node, metadata: {name: node-1}, spec: {taints: [{key: node.kubernetes.io/disk-pressure, effect: NoSchedule}]}, status: {conditions: [{type: DiskPressure, status: "True", reason: KubeletHasDiskPressure, message: kubelet has disk pressure}, {type: Ready, status: "True"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}, spec: {nodeName: node-1, containers: [{name: main, image: x}]}, status: {phase: Failed, reason: Evicted, message: "The node was low on resource: ephemeral-storage."}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: shop}, spec: {containers: [{name: main, image: x}]}, status: {phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/1 nodes are available: 1 node(s) had untolerated taint(s)."}]}}`
	d := Of(Snapshot{Namespaces: []string{"shop"}, Objects: objects(t, full)})
	if len(d.Findings) != 1 || d.Findings[0].Code != DiskFull || d.Findings[0].Object.Kind != "Node" {
		t.Errorf("want the node's disk alone, got\n%s", d.Text())
	}
}

func TestPodsOfAnOlderRevisionDoNotCount(t *testing.T) {
	text := `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, annotations: {deployment.kubernetes.io/revision: "2"}}}
---
{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-a, namespace: shop, annotations: {deployment.kubernetes.io/revision: "1"}, ownerReferences: [{kind: Deployment, name: web, controller: true}]}, spec: {replicas: 0}}
---
` + strings.Replace(strings.Replace(pod, "STATE", crashed, 1), "name: web-1,", "name: web-1, ownerReferences: [{kind: ReplicaSet, name: web-a, controller: true}],", 1)
	if d := Of(Snapshot{Namespaces: []string{"shop"}, Objects: objects(t, text)}); len(d.Findings) != 0 {
		t.Errorf("got\n%s", d.Text())
	}
}

func TestClosestNames(t *testing.T) {
	got := closest("postgres", []string{"redis", "datastorage", "postgresql", "postgrse", "web"})
	if diff := cmp.Diff([]string{"postgresql", "postgrse", "redis"}, got); diff != "" {
		t.Error(diff)
	}
}
