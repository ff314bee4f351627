package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// machine is what a cluster must not change.
type machine struct {
	Mounts   string
	Firewall string
	Links    string
	Settings map[string]string
	Folders  map[string]bool // whether they are there
	Netns    []string        // network namespaces that have a name
}

func look(t *testing.T) machine {
	t.Helper()
	m := machine{
		Mounts:   read(t, "/proc/self/mountinfo"),
		Firewall: run(t, "nft", "list", "ruleset"),
		Links:    run(t, "ip", "-o", "link", "show"),
		Settings: map[string]string{},
		Folders:  map[string]bool{},
	}
	for name := range wanted {
		m.Settings[name] = read(t, "/proc/sys/"+name)
	}
	m.Settings["forwarding"] = read(t, "/proc/sys/net/ipv4/ip_forward")
	for _, dir := range []string{
		"/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni", "/var/lib/etcd", "/var/log/pods", "/var/log/containers",
		"/run/containerd", "/etc/cni", "/run/netns", "/root/.kube",
	} {
		_, err := os.Stat(dir)
		m.Folders[dir] = err == nil
	}
	if entries, err := os.ReadDir("/run/netns"); err == nil {
		for _, e := range entries {
			m.Netns = append(m.Netns, e.Name())
		}
	}
	return m
}

func (m machine) compare(t *testing.T, now machine) {
	t.Helper()
	if diff := cmp.Diff(m, now); diff != "" {
		t.Errorf("the machine has changed (-before +now):\n%s", diff)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := lookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return string(out)
}

// possessions are what one node has on the machine.
type possessions struct {
	cluster    *Cluster
	folders    []string // of control groups
	processes  []process
	namespaces map[string]bool // "net:[4026532000]"
	seen       uint64          // when, in clock ticks since the machine's start
}

func belongings(t *testing.T, c *Cluster) possessions {
	t.Helper()
	groups, err := detect()
	if err != nil {
		t.Fatal(err)
	}
	p := possessions{cluster: c, namespaces: map[string]bool{}, seen: ticks(t)}
	if p.folders, err = groups.Folders(c.group()); err != nil {
		t.Fatal(err)
	}
	pids, err := members(p.folders)
	if err != nil {
		t.Fatal(err)
	}
	own := namespacesOf("self")
	for _, pid := range pids {
		member, err := identify(pid)
		if err != nil {
			continue // it has just ended
		}
		p.processes = append(p.processes, member)
		for name := range namespacesOf(strconv.Itoa(pid)) {
			if !own[name] {
				p.namespaces[name] = true
			}
		}
	}
	return p
}

func namespacesOf(pid string) map[string]bool {
	all := map[string]bool{}
	for _, kind := range []string{"net", "mnt", "pid", "ipc", "uts", "cgroup"} {
		if name, err := os.Readlink(filepath.Join("/proc", pid, "ns", kind)); err == nil {
			all[name] = true
		}
	}
	return all
}

// ticks is the time as /proc counts it for processes.
func ticks(t *testing.T) uint64 {
	t.Helper()
	seconds, _, _ := strings.Cut(read(t, "/proc/uptime"), " ")
	up, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(up * 100)
}

// ended says that none of the processes is left, nor another one in one of
// their namespaces. The kernel gives the numbers of namespaces anew, so younger
// processes may have one that was ours.
func (p possessions) ended(t *testing.T) {
	t.Helper()
	if len(p.processes) < 8 || len(p.namespaces) < 6 {
		t.Fatalf("%d processes in %d namespaces are too few for a node", len(p.processes), len(p.namespaces))
	}
	for _, member := range p.processes {
		if member.alive() {
			t.Errorf("process %d is still there: %s", member.PID, read(t, fmt.Sprintf("/proc/%d/cmdline", member.PID)))
		}
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range all {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		if other, err := identify(pid); err != nil || other.Start > p.seen {
			continue // ended meanwhile, or younger
		}
		for name := range namespacesOf(filepath.Base(dir)) {
			if p.namespaces[name] {
				t.Errorf("%s is still in namespace %s", dir, name)
			}
		}
	}
}

// gone says that nothing is left but the cache.
func (p possessions) gone(t *testing.T) {
	t.Helper()
	p.ended(t)
	for _, dir := range append(p.folders, p.cluster.node.Dir) {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", dir, err)
		}
	}
	if strings.Contains(read(t, "/proc/self/mountinfo"), p.cluster.node.Dir) {
		t.Error("something is still mounted")
	}
}
