package local

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/cluster"
)

// helperName makes the test binary start a cluster, so that a test can end it
// in the middle.
const helperName = "KUBERNAUT_TEST_UP"

func helper() {
	if version := os.Getenv(groupsHelper); version != "" {
		if err := lookAtGroup(version); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	name := os.Getenv(helperName)
	if name == "" {
		return
	}
	cache, err := build.Open()
	if err == nil {
		var c *Cluster
		if c, err = New(cache, Options{Name: name}); err == nil {
			err = c.Up(context.Background(), func(note string) { fmt.Println(note) })
		}
	}
	fmt.Println("up:", err)
	os.Exit(0)
}

const webPods = `
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: IMAGE
    command: [sh, -c, "echo it works > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]
    readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
    resources: {limits: {memory: 64Mi, cpu: 100m}}
    volumeMounts: [{name: tmp, mountPath: /tmp}]
  volumes: [{name: tmp, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: client, image: IMAGE, command: [sleep, "100000"]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.77, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`

// fetch asks the Service from inside a pod.
func fetch(t *testing.T, c *Cluster, from string) error {
	const ask = `printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 3 10.96.0.77 80`
	out, err := kubectl(t, c, "", "exec", from, "--", "sh", "-c", ask)
	if err != nil || !strings.Contains(out, "it works") {
		return fmt.Errorf("asking from pod %s: %w: %s", from, err, out)
	}
	return nil
}

// One cluster lives through everything that can happen to it.
func TestLifeOfACluster(t *testing.T) {
	c := realCluster(t, "test-life")
	before := look(t)
	up(t, c)
	t.Run("RunningAlready", func(t *testing.T) { runningAlready(t, c) })
	t.Run("PodsAndServices", func(t *testing.T) { podsAndServices(t, c) })
	t.Run("ComponentsKilled", func(t *testing.T) { componentsKilled(t, c) })
	t.Run("InitKilled", func(t *testing.T) { initKilled(t, c) })
	t.Run("MachineUntouched", func(t *testing.T) { before.compare(t, look(t)) })
	t.Run("Down", func(t *testing.T) {
		mine := belongings(t, c)
		down(t, c)
		mine.gone(t)
		before.compare(t, look(t))
		down(t, c) // of nothing
	})
}

func runningAlready(t *testing.T, c *Cluster) {
	self := initOf(t, c)
	if err := c.Up(t.Context(), func(note string) { t.Errorf("a running cluster was worked on: %s", note) }); err != nil {
		t.Error(err)
	}
	if initOf(t, c) != self {
		t.Error("a running cluster was started again")
	}
	status, err := c.Status(t.Context())
	if err != nil || status.State != cluster.Ready || len(status.Components) != 7 {
		t.Errorf("status %+v, %v", status, err)
	}
}

func podsAndServices(t *testing.T, c *Cluster) {
	manifest := strings.ReplaceAll(webPods, "IMAGE", loadShell(t, c))
	eventually(t, "creating pods", func(context.Context) error {
		out, err := kubectl(t, c, manifest, "apply", "-f", "-")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out) // the default service account may be missing for a moment
		}
		return nil
	})
	if out, err := kubectl(t, c, "", "wait", "--for=condition=Ready", "pod/web", "pod/client", "--timeout=60s"); err != nil {
		t.Fatal(out)
	}
	eventually(t, "from another pod", func(context.Context) error { return fetch(t, c, "client") })
	eventually(t, "from the pod itself", func(context.Context) error { return fetch(t, c, "web") })
	started := time.Now()
	out, err := kubectl(t, c, "", "exec", "client", "--", "nc", "-w", "20", "203.0.113.1", "80")
	if err == nil || !strings.Contains(out, "unreachable") {
		t.Errorf("outside of the cluster: %v: %s", err, out)
	}
	if took := time.Since(started); took > 15*time.Second {
		t.Errorf("it took %s to find out that the outside cannot be reached", took)
	}
}

// componentsKilled ends every component in turn; each comes back, and the pods
// go on all the while.
func componentsKilled(t *testing.T, c *Cluster) {
	for _, name := range []string{etcd, apiServer, controllers, scheduler, containerd, kubelet, kubeProxy} {
		pid := pidOf(t, c, name)
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		eventually(t, name+" comes back", func(ctx context.Context) error {
			status, err := c.Status(ctx)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(status.Components, func(s cluster.Component) bool { return s.Name == name })
			if s := status.Components[i]; s.Restarts == 0 || !s.Ready || status.State != cluster.Ready {
				return fmt.Errorf("%+v, cluster %s", s, status.State)
			}
			return nil
		})
	}
	eventually(t, "the Service answers", func(context.Context) error { return fetch(t, c, "client") })
	if out, err := kubectl(t, c, "", "get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}"); err != nil || out != "0 0" {
		t.Errorf("restarts of the pods: %s (%v)", out, err)
	}
}

// pidOf finds the process that runs the node's own file of that name.
func pidOf(t *testing.T, c *Cluster, name string) int {
	t.Helper()
	for _, p := range belongings(t, c).processes {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
		if program, _, _ := strings.Cut(string(line), "\x00"); err == nil && program == c.node.program(name) {
			return p.PID
		}
	}
	t.Fatalf("no process runs %s", c.node.program(name))
	return 0
}

// initKilled ends the node's first process, as an abrupt end of the machine
// would. What the cluster knew is still known afterwards, but for what has ended.
func initKilled(t *testing.T, c *Cluster) {
	const readyAndContainer = `jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.containerStatuses[0].containerID}`
	ready, err := kubectl(t, c, "", "get", "pod", "web", "-o", readyAndContainer)
	if err != nil || !strings.HasPrefix(ready, "True ") {
		t.Fatalf("pod web: %s (%v)", ready, err)
	}
	first := belongings(t, c)
	if err := initOf(t, c).kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, err := c.Status(t.Context()); err != nil || status.State != cluster.Absent {
		t.Errorf("status %v, %v; want Absent", status.State, err)
	}
	first.ended(t)
	up(t, c)
	eventually(t, "pod web is ready", func(context.Context) error {
		now, err := kubectl(t, c, "", "get", "pod", "web", "-o", readyAndContainer)
		if now == ready {
			t.Fatalf("with the container of the node's last start pod web is said to be ready: %s", now)
		}
		if err != nil || !strings.HasPrefix(now, "True ") {
			return fmt.Errorf("%s (%w)", now, err)
		}
		return nil
	})
	if out, err := kubectl(t, c, "", "wait", "--for=condition=Ready", "pod/client", "--timeout=60s"); err != nil {
		t.Fatal(out)
	}
	eventually(t, "the Service answers", func(context.Context) error { return fetch(t, c, "client") })
}

func TestToolKilledWhileStarting(t *testing.T) {
	c := realCluster(t, "test-tool")
	for _, moment := range []struct {
		name    string
		arrived func() bool
	}{
		{"init is recorded", func() bool { _, err := os.Stat(c.node.recordFile()); return err == nil }},
		{"components start", func() bool { _, err := os.Stat(c.node.log(etcd)); return err == nil }},
		{"the API answers", func() bool {
			rec, _, err := c.running()
			told, err2 := c.report(rec)
			return err == nil && err2 == nil && isReady(told, apiServer)
		}},
	} {
		tool := exec.CommandContext(t.Context(), "/proc/self/exe")
		tool.Env = append(os.Environ(), helperName+"="+c.node.Name)
		var out bytes.Buffer
		tool.Stdout, tool.Stderr = &out, &out
		if err := tool.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, moment.name, func(context.Context) error {
			if moment.arrived() {
				return nil
			}
			return fmt.Errorf("not yet: %s", out.String())
		})
		if err := tool.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = tool.Wait() // it was killed
		up(t, c)
		mine := belongings(t, c)
		down(t, c)
		mine.gone(t)
	}
}

func TestLostRecord(t *testing.T) {
	c := realCluster(t, "test-lost")
	up(t, c)
	mine := belongings(t, c)
	if err := os.Truncate(c.node.recordFile(), 10); err != nil {
		t.Fatal(err)
	}
	down(t, c)
	mine.gone(t)
}

func TestTwoClustersAtOnce(t *testing.T) {
	a, b := realCluster(t, "test-a"), realCluster(t, "test-b")
	var both sync.WaitGroup
	for _, c := range []*Cluster{a, b} {
		both.Go(func() {
			if err := c.Up(t.Context(), func(string) {}); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if t.Failed() {
		return
	}
	if out, err := kubectl(t, a, "", "create", "namespace", "only-here"); err != nil {
		t.Fatal(out)
	}
	if out, err := kubectl(t, b, "", "get", "namespace", "only-here"); err == nil || !strings.Contains(out, "not found") {
		t.Errorf("the namespace of one is seen in the other: %s", out)
	}
	mine := belongings(t, a)
	down(t, a)
	mine.gone(t)
	if status, err := b.Status(t.Context()); err != nil || status.State != cluster.Ready {
		t.Errorf("the other cluster is %v, %v", status.State, err)
	}
}

// A component that cannot start fails the start, with what it said, and leaves
// nothing running.
func TestComponentThatCannotStart(t *testing.T) {
	c := realCluster(t, "test-broken")
	data := c.node.path("var/lib/etcd/member/snap")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "db"), []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := c.Up(t.Context(), func(string) {})
	if err == nil || !strings.Contains(err.Error(), "etcd ended 3 times") || !strings.Contains(err.Error(), c.node.log(etcd)) {
		t.Fatalf("the error does not say what failed and where to read more: %v", err)
	}
	t.Log(err)
	if folders := belongings(t, c).folders; len(folders) > 0 {
		t.Errorf("left behind: %v", folders)
	}
	c.options.Keep = true
	if err := c.Up(t.Context(), func(string) {}); err == nil || !strings.Contains(err.Error(), "etcd ended 3 times") {
		t.Fatalf("kept for a look: %v", err)
	}
	if !initOf(t, c).alive() {
		t.Error("a node that was to be kept has ended")
	}
}
