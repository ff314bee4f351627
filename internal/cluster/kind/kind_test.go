package kind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/kind/pkg/exec"
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
	return New(Options{
		Name: "test", Port: 16500, Dir: t.TempDir(),
		Registry: Registry{Host: "registry.kubernaut-system.svc:5000", Address: "10.96.0.50", CA: []byte("PEM")},
	})
}

func TestUpComesAsFarAsTheEngine(t *testing.T) {
	calls := withEngine(t)
	c := testCluster(t)
	err := c.Up(t.Context(), func(string) {})
	if err == nil || !strings.Contains(err.Error(), "making kind cluster kubernaut-test") {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), "no container can be started here") {
		t.Errorf("what the engine says is not told: %v", err)
	}
	run, raw := runOf(t, calls)
	for _, want := range []string{
		"--name kubernaut-test-control-plane", "--privileged", "127.0.0.1:16500:6443",
		filepath.Join(c.options.Dir, "certs.d") + ":/etc/containerd/certs.d:ro", "kindest/node:v1.37",
	} {
		if !strings.Contains(run, want) {
			t.Errorf("the engine is not asked for %s: %s\nall calls:\n%s", want, run, raw)
		}
	}
}

// runOf is the call that would start a node, and all calls.
func runOf(t *testing.T, calls string) (run, all string) {
	t.Helper()
	raw, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "run ") {
			run = line
		}
	}
	return run, string(raw)
}

func TestTheNodeIsOfTheImageAskedFor(t *testing.T) {
	calls := withEngine(t)
	c := testCluster(t)
	c.options.Image, c.options.AuditLog = "mirror.example.com/kindest/node:v1.37.0", true
	var said []string
	if err := c.Up(t.Context(), func(note string) { said = append(said, note) }); err == nil {
		t.Fatal("the engine starts nothing, and Up succeeds")
	}
	run, all := runOf(t, calls)
	for _, want := range []string{c.options.Image, c.audit() + ":" + auditFolder} {
		if !strings.Contains(run, want) {
			t.Errorf("the engine is not asked for %s: %s\nall calls:\n%s", want, run, all)
		}
	}
	if !slices.Contains(said, "kind: Preparing nodes") {
		t.Errorf("what kind does is not told: %q", said)
	}
	if _, err := os.Stat(filepath.Join(c.audit(), auditPolicy)); err != nil {
		t.Errorf("the API server finds no policy: %v", err)
	}
}

func TestTheMachineDecidesOnControlGroups(t *testing.T) {
	if patches := testCluster(t).config().KubeadmConfigPatches; len(patches) != 1 || !strings.Contains(patches[0], "failCgroupV1: false") {
		t.Errorf("the kubelet is told %q", patches)
	}
}

// A cluster that was whole once may have data. That its node does not answer, or
// not yet, is no reason to make another.
func TestAWholeClusterIsWaitedFor(t *testing.T) {
	calls := withEngine(t)
	c := testCluster(t)
	for _, file := range []string{calls + ".there", c.mark()} {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := c.Up(ctx, func(string) {})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "docker start kubernaut-test-control-plane") {
		t.Errorf("got %v", err)
	}
	if run, all := runOf(t, calls); run != "" || strings.Contains(all, "\nrm ") {
		t.Errorf("the cluster was harmed:\n%s", all)
	}
}

func TestAHalfMadeClusterIsMadeAnew(t *testing.T) {
	calls := withEngine(t)
	if err := os.WriteFile(calls+".there", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var said []string
	err := testCluster(t).Up(t.Context(), func(note string) { said = append(said, note) })
	if err == nil || !slices.Contains(said, "removing the cluster that an earlier attempt left half-made") {
		t.Errorf("got %v, said %q", err, said)
	}
	if _, all := runOf(t, calls); !strings.Contains(all, "\nrm -f -v kubernaut-test") {
		t.Errorf("it was not removed:\n%s", all)
	}
}

func TestFailuresOfTheEngineSayWhatItPrinted(t *testing.T) {
	failed := func(output string, command ...string) error {
		return fmt.Errorf("failed: %w", &exec.RunError{Command: command, Output: []byte(output), Inner: errors.New("exit status 1")})
	}
	for _, c := range []struct {
		err         error
		want, never string
	}{
		{errors.New("of our own"), "of our own", ":"},
		{failed("", "docker", "exec"), "exit status 1", "--node-image"},
		{failed("denied\n", "docker", "pull", "kindest/node"), "exit status 1: denied; where the node image cannot be pulled, ", "\n"},
		{failed("I1125 preparing\nerror: the kubelet is not running\n\tk8s.io/kubernetes/cmd/kubeadm/app/x.go:1\nruntime.goexit\n", "docker", "exec"), "error: the kubelet is not running", "kubeadm/app"},
	} {
		if got := explained(c.err).Error(); !strings.Contains(got, c.want) || strings.Contains(got, c.never) {
			t.Errorf("%v becomes %q, want %q and not %q", c.err, got, c.want, c.never)
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
	for _, want := range []string{`server = "https://10.96.0.50:5000"`, `ca = "/etc/containerd/certs.d/registry.kubernaut-system.svc:5000/ca.crt"`} {
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

func TestAnEngineThatDoesNotAnswerIsNamedAndHoldsNothingUp(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\n[ \"$1\" = -v ] && echo Docker version 27.0.1 && exit\necho Cannot connect to the Docker daemon >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	c := testCluster(t)
	c.options.Dir = filepath.Join(c.options.Dir, "kind")
	err := c.Up(t.Context(), func(string) {})
	if err == nil || !strings.Contains(err.Error(), "Cannot connect to the Docker daemon") || !strings.Contains(err.Error(), "--cluster local") {
		t.Errorf("got %v", err)
	}
	if err := c.Down(t.Context()); err != nil {
		t.Errorf("what was never begun cannot be removed: %v", err)
	}
	if err := c.writeTrust(); err != nil {
		t.Fatal(err)
	}
	if err := c.Down(t.Context()); err == nil || !strings.Contains(err.Error(), "Cannot connect") {
		t.Errorf("what may be there is taken for removed: %v", err)
	}
}

func TestAClusterThatIsNotThereIsAbsent(t *testing.T) {
	withEngine(t)
	status, err := testCluster(t).Status(t.Context())
	if err != nil || status.State != "Absent" {
		t.Errorf("got %+v, %v", status, err)
	}
}
