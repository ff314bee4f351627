package kind

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// engineScript stands in for docker: it answers what kind asks before it makes
// anything, writes down every call, and fails at the first that would start a
// container. Everything up to there is kind's own code.
const engineScript = `#!/bin/sh
echo "$@" >> "$CALLS"
case "$1 $2" in
"version --format"|"version ") echo 27.0.1 ;;
"-v ") echo "Docker version 27.0.1, build none" ;;
"info --format") echo '{"CgroupVersion":"2","CgroupDriver":"systemd","MemoryLimit":true,"PidsLimit":true,"CPUShares":true,"SecurityOptions":[]}' ;;
"ps -a") [ -f "$CALLS.there" ] && echo "$KIND_NAME" ;;
"inspect --type=image") ;;
"network ls") echo 0123456789ab ;;
"network inspect") echo '[]' ;;
"run "*) echo "no container can be started here" >&2; exit 125 ;;
esac
exit 0
`

// withEngine puts the stand-in first in PATH and returns the file of its calls.
func withEngine(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(engineScript), 0o755); err != nil {
		t.Fatal(err)
	}
	calls := filepath.Join(t.TempDir(), "calls")
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	t.Setenv("CALLS", calls)
	t.Setenv("KIND_NAME", "kubernaut-test")
	return calls
}

func testCluster(t *testing.T) *Cluster {
	t.Helper()
	c, err := New(Options{
		Name: "test", Port: 16500, Dir: t.TempDir(),
		Registry: Registry{Host: "registry.kubernaut-system.svc:5000", Address: "10.96.0.50", CA: []byte("PEM")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestUpComesAsFarAsTheEngine(t *testing.T) {
	calls := withEngine(t)
	c := testCluster(t)
	err := c.Up(t.Context(), func(string) {})
	if err == nil || !strings.Contains(err.Error(), "making kind cluster kubernaut-test") {
		t.Fatalf("got %v", err)
	}
	raw, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	run := ""
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "run ") {
			run = line
		}
	}
	for _, want := range []string{
		"--name kubernaut-test-control-plane", "--privileged", "127.0.0.1:16500:6443",
		filepath.Join(c.options.Dir, "certs.d") + ":/etc/containerd/certs.d:ro", "kindest/node:v1.37",
	} {
		if !strings.Contains(run, want) {
			t.Errorf("the engine is not asked for %s: %s\nall calls:\n%s", want, run, raw)
		}
	}
}

func TestNodesTrustTheRegistry(t *testing.T) {
	c := testCluster(t)
	if err := c.writeTrust(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(c.options.Dir, "certs.d", "registry.kubernaut-system.svc:5000")
	hosts, err := os.ReadFile(filepath.Join(dir, "hosts.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`server = "https://registry.kubernaut-system.svc:5000"`, `[host."https://10.96.0.50:5000"]`, `ca = "/etc/containerd/certs.d/registry.kubernaut-system.svc:5000/ca.crt"`} {
		if !strings.Contains(string(hosts), want) {
			t.Errorf("no %s in\n%s", want, hosts)
		}
	}
	if ca, err := os.ReadFile(filepath.Join(dir, "ca.crt")); err != nil || string(ca) != "PEM" {
		t.Errorf("ca.crt: %s, %v", ca, err)
	}
}

func TestWithoutAnEngineItSaysSo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := testCluster(t).Up(t.Context(), func(string) {})
	if err == nil || !strings.Contains(err.Error(), "neither docker nor podman") || !strings.Contains(err.Error(), "--cluster local") {
		t.Errorf("got %v", err)
	}
}

func TestAClusterThatIsNotThereIsAbsent(t *testing.T) {
	withEngine(t)
	status, err := testCluster(t).Status(t.Context())
	if err != nil || status.State != "Absent" {
		t.Errorf("got %+v, %v", status, err)
	}
}
