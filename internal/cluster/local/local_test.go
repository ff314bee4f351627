package local

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/cluster"
	"kubernaut.ai/kubernaut/internal/pki"
)

func TestMain(m *testing.M) {
	Init()
	helper()
	os.Exit(m.Run())
}

func newCluster(t *testing.T) *Cluster {
	t.Helper()
	c, err := New(build.Cache{Dir: t.TempDir()}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNamesAreChecked(t *testing.T) {
	for name, good := range map[string]bool{
		"": true, "local": true, "a": true, "two-words-2": true,
		"-a": false, "a-": false, "A": false, "a/b": false, "..": false, "1a": false, strings.Repeat("a", 21): false,
	} {
		_, err := New(build.Cache{}, Options{Name: name})
		if (err == nil) != good {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestSameNameInTwoCachesIsTwoClusters(t *testing.T) {
	if a, b := newCluster(t), newCluster(t); a.group() == b.group() {
		t.Errorf("both have the control group %s", a.group())
	}
}

func TestNothingThereIsAbsent(t *testing.T) {
	c := newCluster(t)
	status, err := c.Status(t.Context())
	if err != nil || status.State != cluster.Absent {
		t.Errorf("status %v, %v; want Absent", status.State, err)
	}
	if _, err := c.Kubeconfig(t.Context()); err == nil || !strings.Contains(err.Error(), "`kubernaut env up`") {
		t.Errorf("kubeconfig of nothing: %v", err)
	}
	if err := c.LoadImage(t.Context(), "x.tar"); err == nil || !strings.Contains(err.Error(), "kubernaut env up") {
		t.Errorf("loading into nothing: %v", err)
	}
}

// A record of another process with the same number, or of one before the last
// start of the machine, must never lead to that process being ended.
func TestProcessIsMoreThanItsNumber(t *testing.T) {
	child := exec.CommandContext(t.Context(), "sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Wait() }() // killed below
	real, err := identify(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	reused, rebooted := real, real
	reused.Start--
	rebooted.Boot = "another"
	for name, p := range map[string]process{"reused": reused, "rebooted": rebooted, "none": {}} {
		if p.alive() {
			t.Errorf("%s: is alive", name)
		}
		if err := p.kill(t.Context()); name != "none" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !real.alive() {
		t.Fatal("a process was ended that only had the same number")
	}
	if err := real.kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if real.alive() { // nobody has collected it yet
		t.Error("an ended process counts as alive")
	}
}

func TestParseStat(t *testing.T) {
	line := "42 (a) b (c)) S 1 42 42 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 987654 1000 10 18446744073709551615 0 0"
	state, start, err := parseStat([]byte(line))
	if err != nil || state != 'S' || start != 987654 {
		t.Errorf("state %c, start %d, %v", state, start, err)
	}
	for _, bad := range []string{"", "42 (a", "42 (a) S 1 2"} {
		if _, _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
}

func TestPortInUseIsNamed(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	_, err = listen(port, 0, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "in use by another program") || !strings.Contains(err.Error(), "--port") {
		t.Errorf("asked for a taken port: %v", err)
	}
	var notes []string
	listener, err := listen(0, port, func(note string) { notes = append(notes, note) })
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if len(notes) != 1 || !strings.Contains(notes[0], "taking another one") {
		t.Errorf("the last port is taken now: %q", notes)
	}
}

func TestLastPortIsTakenAgain(t *testing.T) {
	free, err := listenOn(0)
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	again, err := listen(0, port, func(note string) { t.Error(note) })
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := again.Addr().(*net.TCPAddr).Port; got != port {
		t.Errorf("port %d, want %d", got, port)
	}
}

func TestHopelessStartsAreTold(t *testing.T) {
	c := newCluster(t)
	self, err := identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(c.node.path("logs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.node.log(etcd), []byte("one\ntwo: disk full\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	failing := func(failures int, ready bool) report {
		return report{Components: []componentReport{{
			Component: cluster.Component{Name: etcd, Ready: ready, Restarts: 9, Problem: "exit status 2"}, Failures: failures,
		}}}
	}
	for name, x := range map[string]struct {
		init process
		told report
		want []string // empty: there is hope
	}{
		"nothing said yet":    {self, report{}, nil},
		"one failure":         {self, failing(1, false), nil},
		"old failures":        {self, failing(0, false), nil},
		"recovered":           {self, failing(0, true), nil},
		"failed and failed":   {self, failing(3, false), []string{"etcd ended 3 times", "exit status 2", "two: disk full", c.node.log(etcd)}},
		"could not be set up": {self, report{Failed: "mounting x: no"}, []string{"mounting x: no"}},
		"first process gone":  {process{}, report{}, []string{"first process has ended", "wrote nothing to " + c.node.log("init")}},
	} {
		err := c.hopeless(record{Init: x.init}, x.told)
		if (err == nil) != (x.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, part := range x.want {
			if err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q is not in: %v", name, part, err)
			}
		}
	}
}

func TestLastLinesOfALongLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	long := strings.Repeat("an old line\n", 10_000) + "last but one\nlast\n\n"
	if err := os.WriteFile(path, []byte(long), 0o644); err != nil {
		t.Fatal(err)
	}
	lines, err := lastOf(path)
	if diff := cmp.Diff([]string{"last but one", "last"}, essence(lines, 2)); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if len(lines) > 2000 {
		t.Errorf("%d lines were read to find the last two", len(lines))
	}
}

func TestErrorsBeginWithWhatDecided(t *testing.T) {
	for name, c := range map[string]struct{ log, want string }{
		"panic":     {"a\n{\"level\":\"panic\"}\npanic: db\ngoroutine 1\nb\nc", "{\"level\":\"panic\"}\npanic: db"},
		"last one":  {"panic: old\na\npanic: new\nb", "panic: new\nb"},
		"klog":      {"I0101 fine\nF0101 12:00:00 no port\nb", "F0101 12:00:00 no port\nb"},
		"zap":       {"a\n{\"level\":\"fatal\",\"msg\":\"x\"}", "{\"level\":\"fatal\",\"msg\":\"x\"}"},
		"cobra":     {"Error: unknown flag\nUsage:", "Error: unknown flag\nUsage:"},
		"undecided": {"a\nb\nc\nd", "b\nc\nd"},
	} {
		if got := strings.Join(essence(strings.Split(c.log, "\n"), 3), "\n"); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestNarratorRepeatsOnceASecond(t *testing.T) {
	began := time.Unix(100, 0)
	var said []string
	n := narrator{say: func(note string) { said = append(said, note) }, began: began}
	for _, ms := range []int{0, 50, 900, 1000, 1050, 1100} {
		note := "a"
		if ms == 1100 {
			note = "b"
		}
		n.tell(note, began.Add(time.Duration(ms)*time.Millisecond))
	}
	if diff := cmp.Diff([]string{"a (0s)", "a (1s)", "b (1s)"}, said); diff != "" {
		t.Error(diff)
	}
}

func TestReadyConditionSaysWhyNot(t *testing.T) {
	for raw, want := range map[string]string{
		`{"status":{"conditions":[{"type":"MemoryPressure","status":"False"},{"type":"Ready","status":"True","lastHeartbeatTime":"2026-01-02T03:04:05Z"}]}}`: "",
		`{"status":{"conditions":[{"type":"Ready","status":"False","message":"no network","lastHeartbeatTime":"2026-01-02T03:04:05Z"}]}}`:                    "no network",
		`{"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":null}]}}`:                                                              "has not said",
		`{"status":{}}`: "has not said",
		`{`:             "unexpected end",
	} {
		err := readyCondition([]byte(raw))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
	}
}

func TestMemoryThatIsAvailable(t *testing.T) {
	if got := available([]byte("MemTotal: 9 kB\nMemAvailable:    2048 kB\n")); got != 2<<20 {
		t.Errorf("%d bytes, want 2 MiB", got)
	}
	if got := available([]byte("MemTotal: 9 kB\n")); got != 0 {
		t.Errorf("%d bytes from nothing", got)
	}
}

func TestWithoutRootItSaysWhatToDo(t *testing.T) {
	if f := checkRoot(0); !f.OK {
		t.Errorf("root: %+v", f)
	}
	err := blocking([]Finding{checkRoot(65534)})
	if err == nil || err.Error() != "root: user id 65534: run it as root (sudo): namespaces, mounts and control groups need it" {
		t.Errorf("got %v", err)
	}
}

func TestRoomOnDisks(t *testing.T) {
	folders := []folder{{"/home/cache", 4}, {"/home/go/build", 14}, {"/mod", 4}}
	for _, c := range []struct {
		why        string
		home, root uint64 // GiB free
		want       string
	}{
		{"enough on both", 18, 4, ""},
		{"together too much for one", 17, 4, "disk: 17.0 GiB free at /home/cache, 18 needed; 4.0 GiB free at /mod, 4 needed: free some, or name folders on another disk with KUBERNAUT_CACHE, GOCACHE and GOMODCACHE"},
		{"the other is full", 20, 0, "0.0 GiB free at /mod, 4 needed"},
	} {
		err := blocking([]Finding{checkDisk(folders, func(path string) (disk, error) {
			if strings.HasPrefix(path, "/home") {
				return disk{1, c.home * gib}, nil
			}
			return disk{2, c.root * gib}, nil
		})})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.why, err, c.want)
		}
	}
	err := blocking([]Finding{checkDisk(folders, func(string) (disk, error) { return disk{}, os.ErrPermission })})
	if err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("a folder that nobody may look at: %v", err)
	}
	if d, err := diskOf(filepath.Join(t.TempDir(), "not", "there")); err != nil || d.free == 0 {
		t.Errorf("a folder that is not there yet: %+v, %v", d, err)
	}
}

func TestTooLittleMemory(t *testing.T) {
	meminfo := filepath.Join(t.TempDir(), "meminfo")
	if err := os.WriteFile(meminfo, []byte("MemTotal: 9999999 kB\nMemAvailable: 3145728 kB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := checkMemory(false, meminfo); !f.OK {
		t.Errorf("for a node: %+v", f)
	}
	err := blocking([]Finding{checkMemory(true, meminfo)})
	if err == nil || err.Error() != "memory: 3.0 GiB available, 4 needed: end other programs, or add memory" {
		t.Errorf("for a compiler: %v", err)
	}
	if f := checkMemory(false, meminfo+".none"); f.OK || f.Fix == "" {
		t.Errorf("nothing to read: %+v", f)
	}
}

func TestMissingPackagesAreNamed(t *testing.T) {
	if _, err := lookPath("dpkg-query"); err != nil {
		t.Skip("this is no Debian")
	}
	checkout := t.TempDir()
	if err := os.WriteFile(filepath.Join(checkout, "packages.txt"), []byte("dpkg\nno-such-package\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := checkPrograms(t.Context(), checkout)
	if f.OK || !strings.Contains(f.Found, "no-such-package") || strings.Contains(f.Found, "dpkg") || !strings.Contains(f.Fix, "apt-get install") {
		t.Errorf("got %+v", f)
	}
}

func TestFindingsSayWhatToDo(t *testing.T) {
	err := blocking([]Finding{{Name: "root", OK: true}, {Name: "disk", Found: "1 GiB free", Fix: "free some"}})
	if err == nil || err.Error() != "disk: 1 GiB free: free some" {
		t.Errorf("got %v", err)
	}
	if err := blocking(nil); err != nil {
		t.Error(err)
	}
	for _, f := range Check(t.Context(), build.Cache{Dir: filepath.Join(t.TempDir(), "not", "there")}) {
		if f.Name == "" || f.Found == "" || !f.OK && f.Fix == "" {
			t.Errorf("%+v does not say what was found or what to do", f)
		}
	}
}

func TestCertificatesSuitTheirProgram(t *testing.T) {
	n := newCluster(t).node
	now := time.Now()
	first, err := n.issue(now)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.ParseAuthority(first["ca"])
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range n.leaves() {
		problem := ca.Problem(first[l.name], l.Request, now)
		if (l.authority == "ca") != (problem == "") {
			t.Errorf("%s of %s, judged by ca: %q", l.name, l.authority, problem)
		}
	}
	again, err := n.issue(now)
	if diff := cmp.Diff(first, again); err != nil || diff != "" {
		t.Errorf("certificates changed without a reason: %v", err)
	}
	later, err := n.issue(now.AddDate(0, 10, 0))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(later["ca"].Cert, first["ca"].Cert) || slices.Equal(later[apiServer].Cert, first[apiServer].Cert) {
		t.Error("ten months later the authority should be the same and the certificates new")
	}
}

func TestInitIsOnlyForItself(t *testing.T) {
	err := runNode([]string{"one argument"})
	if err == nil {
		t.Error("init ran without its arguments")
	}
	if err := runNode([]string{filepath.Join(t.TempDir(), "node.json"), "{}"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("init without a node: %v", err)
	}
}
