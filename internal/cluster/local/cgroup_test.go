package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const (
	debianV1 = `11:cpu,cpuacct:/user.slice
4:memory:/user.slice/session-1.scope
2:pids:/user.slice
1:name=systemd:/user.slice/user-0.slice/session-1.scope
0::/user.slice/user-0.slice/session-1.scope
`
	debianV1Mounts = `24 18 0:22 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
25 24 0:23 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
26 24 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
30 24 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:12 - cgroup cgroup rw,cpu,cpuacct
31 24 0:29 /user.slice /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
`
	debianV2       = "0::/user.slice/user-0.slice/session-1.scope\n"
	debianV2Mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
)

func chosen(t *testing.T, own, mounts string) cgroups {
	t.Helper()
	all, err := parseMembership([]byte(own))
	if err != nil {
		t.Fatal(err)
	}
	groups, err := choose(all, parseMounts([]byte(mounts)))
	if err != nil {
		t.Fatal(err)
	}
	return groups
}

func TestVersion1IsRead(t *testing.T) {
	want := cgroups1{
		{"cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/user.slice"},
		{"memory", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/session-1.scope"}, // as seen from what is mounted
		{"name=systemd", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/systemd/user.slice/user-0.slice/session-1.scope"},
	}
	got := chosen(t, debianV1, debianV1Mounts)
	if diff := cmp.Diff(cgroups(want), got); diff != "" {
		t.Error(diff)
	}
	if !got.Has("cpuacct") || got.Has("pids") {
		t.Error("cpuacct is there, pids is mounted nowhere")
	}
}

func TestVersion2IsRead(t *testing.T) {
	if diff := cmp.Diff(cgroups(cgroups2{"/sys/fs/cgroup"}), chosen(t, debianV2, debianV2Mounts), cmp.AllowUnexported(cgroups2{})); diff != "" {
		t.Error(diff)
	}
}

func TestGroupsThatCannotBeUsedAreNamed(t *testing.T) {
	for name, c := range map[string]struct{ own, mounts, want string }{
		"nothing mounted": {debianV2, "22 1 0:20 / / rw - ext4 /dev/vda rw\n", "no control groups are mounted"},
		"outside of what is mounted": {
			"4:memory:/elsewhere\n", "31 24 0:29 /user.slice /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
			"/elsewhere (memory) is not below",
		},
		"unknown form": {"memory\n", "", "unexpected line"},
	} {
		own, err := parseMembership([]byte(c.own))
		if err == nil {
			_, err = choose(own, parseMounts([]byte(c.mounts)))
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// sleeper starts a process that can be put into groups.
func sleeper(t *testing.T) process {
	t.Helper()
	child := exec.CommandContext(t.Context(), "sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Wait() }) // killed by the context or by the test
	p, err := identify(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// groupLife makes a group on this machine, finds who is in it and removes it.
func groupLife(t *testing.T, groups cgroups) {
	t.Helper()
	name := "kubernaut-test-" + strings.ToLower(t.Name())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	p := sleeper(t)
	if err := groups.Make(name, p.PID); err != nil {
		t.Fatal(err)
	}
	folders, err := groups.Folders(name)
	if err != nil || len(folders) == 0 {
		t.Fatalf("folders %v, %v", folders, err)
	}
	t.Cleanup(func() { _ = removeGroups(context.Background(), folders) }) // if the test failed
	below := filepath.Join(folders[0], "pod", "container")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	if pids, err := members(folders); err != nil || !cmp.Equal(pids, []int{p.PID}) {
		t.Errorf("members %v, %v; want %d", pids, err, p.PID)
	}
	short, end := context.WithTimeout(ctx, 50*time.Millisecond)
	defer end()
	if err := removeGroups(short, folders); err == nil || !strings.Contains(err.Error(), "processes are still in it") {
		t.Errorf("a group with a process was removed: %v", err)
	}
	if err := killMembers(ctx, folders); err != nil {
		t.Error(err)
	}
	if p.alive() {
		t.Error("a member is still alive")
	}
	if err := removeGroups(ctx, folders); err != nil {
		t.Error(err)
	}
	if left, err := groups.Folders(name); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("changes control groups: run make test")
	}
	if os.Geteuid() != 0 {
		t.Fatal("needs root: run make test as root")
	}
}

func TestLifeOfAGroup(t *testing.T) {
	needRoot(t)
	groups, err := detect()
	if err != nil {
		t.Fatal(err)
	}
	groupLife(t, groups)
}

// Where version 1 has the controllers, version 2 is often mounted with few of
// them. Everything else works the same there.
func TestLifeOfAGroupOfVersion2(t *testing.T) {
	groupLife(t, version2(t))
}

// version2 returns the machine's tree of version 2. What the test hands down in
// it is taken back.
func version2(t *testing.T) cgroups2 {
	t.Helper()
	needRoot(t)
	for _, m := range parseMounts([]byte(read(t, "/proc/self/mountinfo"))) {
		if m.Version != 2 {
			continue
		}
		file := filepath.Join(m.Point, "cgroup.subtree_control")
		before := strings.Fields(read(t, file))
		t.Cleanup(func() {
			for _, controller := range strings.Fields(read(t, file)) {
				if !slices.Contains(before, controller) {
					_ = os.WriteFile(file, []byte("-"+controller), 0)
				}
			}
		})
		return cgroups2{m.Point}
	}
	t.Skip("this machine has no cgroup2 mounted")
	return cgroups2{}
}

// groupsHelper, with a version, makes the test binary look at its own group as
// a node's first process does.
const groupsHelper = "KUBERNAUT_TEST_GROUPS"

// lookAtGroup waits until it was put into its group, and prints what it sees.
func lookAtGroup(version string) error {
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return err
	}
	runtime.LockOSThread() // what follows is for this thread
	groups, err := detect()
	if err != nil {
		return err
	}
	if version == "2" {
		groups = cgroups2{}
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP | unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := alter("/", unix.MS_REC|unix.MS_PRIVATE); err != nil {
		return err
	}
	if err := groups.Mount("/sys/fs/cgroup"); err != nil {
		return err
	}
	raw, err := os.ReadFile("/proc/thread-self/cgroup")
	if err != nil {
		return err
	}
	fmt.Printf("%s", raw)
	if version == "2" {
		given, err := words("/sys/fs/cgroup/cgroup.subtree_control")
		fmt.Println("given:", given)
		return err
	}
	_, err = os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes")
	return err
}

// seenFrom puts a process into a new group and returns what it sees from there.
func seenFrom(t *testing.T, groups cgroups, version string) string {
	t.Helper()
	child := exec.CommandContext(t.Context(), "/proc/self/exe")
	child.Env = append(os.Environ(), groupsHelper+"="+version)
	var out strings.Builder
	child.Stdout, child.Stderr = &out, &out
	start, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	name := "kubernaut-test-" + strings.ToLower(t.Name())
	t.Cleanup(func() {
		folders, err := groups.Folders(name)
		if err := errors.Join(err, removeGroups(context.Background(), folders)); err != nil {
			t.Error(err)
		}
	})
	if err := groups.Make(name, child.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if _, err := start.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	return out.String()
}

func TestOwnGroupIsTheRootOfWhatIsSeen(t *testing.T) {
	needRoot(t)
	groups, err := detect()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := groups.(cgroups1); !ok {
		t.Skip("this machine has version 2 only")
	}
	own, err := parseMembership([]byte(seenFrom(t, groups, "1")))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range own {
		if m.Controllers != "" && m.Path != "/" {
			t.Errorf("%s is at %s, want the root", m.Controllers, m.Path)
		}
	}
}

func TestOwnGroupIsTheRootOfVersion2(t *testing.T) {
	groups := version2(t)
	have := strings.Fields(read(t, filepath.Join(groups.root, "cgroup.controllers")))
	seen := seenFrom(t, groups, "2")
	if !strings.Contains(seen, "0::/node\n") || !strings.Contains(seen, fmt.Sprintf("given: %v", have)) {
		t.Errorf("want group /node below the root, which hands down %v:\n%s", have, seen)
	}
}

func TestControllersAreHandedDown(t *testing.T) {
	dir := t.TempDir() // ordinary files stand in for the kernel's: what is written last is seen
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("cgroup.controllers", "cpuset cpu memory pids\n")
	write("cgroup.subtree_control", "cpuset cpu memory\n")
	if err := handDown(dir); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control")); err != nil || !strings.HasPrefix(string(raw), "+pids") {
		t.Errorf("wrote %q, %v; want only what was missing", raw, err)
	}
	if !(cgroups2{dir}).Has("memory") || (cgroups2{dir}).Has("io") {
		t.Error("memory is there, io is not")
	}
	if err := handDown(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no group: %v", err)
	}
}
