package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/environment"
	"kubernaut.ai/kubernaut/internal/environment/diagnose"
	"kubernaut.ai/kubernaut/internal/environment/progress"
)

// A port of the machine that another program has is named when `env up` wants it.
func TestAPortThatIsTakenIsNamed(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster: run make test")
	}
	if place().Cluster == environment.Existing {
		t.Skip("an existing cluster has its port already")
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	o := environment.Options{Name: environmentName + "-port", Place: place(), Port: port, Only: []string{"cluster"}}
	defer down(t, o)

	_, err = environment.Up(t.Context(), o, progress.All())

	var failed *environment.FailedUp
	if !errors.As(err, &failed) || len(failed.Findings) != 1 || failed.Findings[0].Code != diagnose.PortInUse {
		t.Fatalf("got %v, want %s alone", err, diagnose.PortInUse)
	}
	if !strings.Contains(failed.Error(), strconv.Itoa(port)) {
		t.Errorf("the port is not named: %v", failed)
	}
}

// smallNode is the environment variable with which this program is started
// again to bring up a cluster whose node has a small disk.
const smallNode = "KUBERNAUT_E2E_SMALL_NODE"

// nodeDisk is the size of that disk: etcd and logs take a part of it, and below
// 500 MiB the kubelet calls it full.
const nodeDisk = 900 << 20

// bringUpSmallNode brings the cluster up in a mount namespace of its own, where
// the node's folder is a file system of limited size. The machine sees nothing
// of it, and it ends with the cluster.
func bringUpSmallNode(name string) error {
	dir, err := build.Dir()
	if err != nil {
		return err
	}
	disk := filepath.Join(dir, "env", name, "node", "var")
	if err := os.MkdirAll(disk, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", nodeDisk)); err != nil {
		return err
	}
	_, err = environment.Up(context.Background(), environment.Options{Name: name, Only: []string{"cluster"}}, progress.Plain(os.Stderr))
	return err
}

// A disk of the node that is full is named, and so is an API server that does
// not answer any more. Both happen to a cluster of their own.
func TestAFullDiskAndAServerThatIsGoneAreNamed(t *testing.T) {
	if !full() {
		t.Skip("starts another cluster: run make test-full")
	}
	if kind := place().Cluster; kind != environment.Local {
		t.Skipf("fills the disk of a local node, and these specs are for a cluster of kind %s", kind)
	}
	o := environment.Options{Name: environmentName + "-disk"}
	defer down(t, o)
	again := exec.CommandContext(t.Context(), "/proc/self/exe")
	again.Env = append(os.Environ(), smallNode+"="+o.Name)
	again.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	if out, err := again.CombinedOutput(); err != nil {
		t.Fatalf("bringing up a node with a small disk: %v\n%s", err, out)
	}
	init := nodeInit(t, o.Name)

	filler := filepath.Join("/proc", strconv.Itoa(init), "root/var/lib/kubelet/filler")
	fillDisk(t, filler)
	f := untilNamed(t, o, diagnose.DiskFull)
	t.Logf("DiskFull: named %s after it was visible: %s", time.Since(f.Visible).Round(100*time.Millisecond), f.Sentence)
	if f.Object.Kind != "Node" || time.Since(f.Visible) > namedWithin && !crowded() {
		t.Errorf("got %+v", f)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}

	server := childOf(t, init, "kube-apiserver")
	if err := syscall.Kill(server, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(server, syscall.SIGCONT) }() // the cluster ends next
	began := time.Now()
	f = untilNamed(t, o, diagnose.ServerGone)
	t.Logf("ServerGone: named after %s: %s", time.Since(began).Round(100*time.Millisecond), f.Sentence)
	if time.Since(began) > namedWithin && !crowded() {
		t.Errorf("named only after %s", time.Since(began))
	}
}

func down(t *testing.T, o environment.Options) {
	t.Helper()
	if err := environment.Down(context.Background(), o, func(string) {}); err != nil {
		t.Errorf("removing environment %s: %v", o.Name, err)
	}
}

// untilNamed diagnoses the environment until the cause is named, alone.
func untilNamed(t *testing.T, o environment.Options, code diagnose.Code) diagnose.Finding {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for { // the kubelet looks at its disk every ten seconds, and tells no one else
		seen, err := environment.Diagnose(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range seen.Findings {
			if f.Code == code {
				if len(seen.Findings) > 1 {
					t.Errorf("named beside it, and not injected:\n%s", seen.Text())
				}
				return f
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s is not named; seen is:\n%s", code, seen.Text())
		case <-time.After(time.Second):
		}
	}
}

// fillDisk leaves 300 MiB of the file system free.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &fs); err != nil {
		t.Fatal(err)
	}
	if total := fs.Blocks * uint64(fs.Bsize); total > nodeDisk {
		t.Fatalf("the node's disk has %d bytes: that is not the small one", total)
	}
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Fallocate(int(file.Fd()), 0, 0, int64(fs.Bavail*uint64(fs.Bsize))-300<<20); err != nil {
		t.Fatal(err)
	}
}

// nodeInit is the number of the node's first process.
func nodeInit(t *testing.T, name string) int {
	t.Helper()
	dir, err := build.Dir()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "env", name, "node", "record.json"))
	if err != nil {
		t.Fatal(err)
	}
	var record struct{ Init struct{ PID int } }
	if err := json.Unmarshal(raw, &record); err != nil {
		t.Fatal(err)
	}
	return record.Init.PID
}

// childOf is the number of a program that the process started.
func childOf(t *testing.T, parent int, program string) int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent)) // each thread has its own
	if err != nil {
		t.Fatal(err)
	}
	var children []string
	for _, list := range lists {
		if raw, err := os.ReadFile(list); err == nil { // a thread may have ended
			children = append(children, strings.Fields(string(raw))...)
		}
	}
	for _, field := range children {
		line, err := os.ReadFile("/proc/" + field + "/cmdline")
		if err == nil && strings.Contains(string(line), program) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("process %d has no child %s", parent, program)
	return 0
}

// Where nothing is wrong, nothing is named.
func TestNothingIsWrongWithARunningEnvironment(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the environment: run make test")
	}
	seen, err := environment.Diagnose(t.Context(), environment.Options{Name: environmentName})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen.Findings) > 0 {
		t.Errorf("named, and not injected:\n%s", seen.Text())
	}
}
