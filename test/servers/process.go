package servers

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take to start or to end.
const patience = 60 * time.Second

// process is one server program that can be killed and started again.
type process struct {
	t    testing.TB
	name string
	args []string
	log  string
	env  []string // beside that of the test

	pid   int
	ended chan struct{} // closed when it has ended and can be started again
}

func (p *process) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(p.t, err)
	defer func() { _ = log.Close() }() // the server has its own handle
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = unprivileged(p.t)
	cmd.Dir = "/"
	started, ended := make(chan error), make(chan struct{})
	go run(cmd, started, ended)
	must(p.t, <-started)
	p.pid, p.ended = cmd.Process.Pid, ended
}

// run starts a program and waits for its end on one thread of its own: the kernel
// sends the parent-death signal when the thread ends that started the program.
func run(cmd *exec.Cmd, started chan<- error, ended chan<- struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	started <- err
	if err != nil {
		return
	}
	_ = cmd.Wait() // a killed server has no better exit code
	close(ended)
}

// kill ends the server and all it has started at once, as a crash does. It is stopped
// first, so that it starts nothing more meanwhile.
func (p *process) kill() {
	p.t.Helper()
	_ = syscall.Kill(p.pid, syscall.SIGSTOP) // it may have ended by itself
	children := descendants(p.pid)
	for _, pid := range append(children, p.pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	p.wait()
	for _, pid := range children { // a server does not start while its last one still holds its memory
		for deadline := time.Now().Add(patience); runs(pid) && time.Now().Before(deadline); {
			<-time.After(time.Millisecond)
		}
	}
}

// runs says whether a process is there and not only waits to be buried.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

// stop tells the server to end and waits for it.
func (p *process) stop(s syscall.Signal) {
	p.t.Helper()
	select {
	case <-p.ended:
		return // its pid may name another process by now
	default:
	}
	_ = syscall.Kill(p.pid, s) // it may have ended by itself
	p.wait()
}

func (p *process) wait() {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%s still runs %s after it was told to end; its log:\n%s", p.name, patience, tail(p.log))
	}
}

// await calls ready until it succeeds.
func (p *process) await(ready func() error) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ready()
		if err == nil {
			return
		}
		select {
		case <-p.ended:
			p.t.Fatalf("%s ended before it was ready; its log:\n%s", p.name, tail(p.log))
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s is not ready after %s: %v; its log:\n%s", p.name, patience, err, tail(p.log))
		}
	}
}

// descendants are the processes below pid, the deepest last, without pid itself.
func descendants(pid int) []int {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil // it has ended
	}
	var all []int
	for field := range strings.FieldsSeq(string(raw)) {
		child, err := strconv.Atoi(field)
		if err == nil {
			all = append(append(all, child), descendants(child)...)
		}
	}
	return all
}

// account is who the servers run as: when the tests run as root, the user of the
// Debian package of PostgreSQL, which refuses to run as root; else nobody else.
func account(t testing.TB) (uid, gid int, other bool) {
	t.Helper()
	if os.Geteuid() != 0 {
		return os.Geteuid(), os.Getegid(), false
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatalf("the user postgres is missing: run `make deps`: %v", err)
	}
	uid, err = strconv.Atoi(u.Uid)
	must(t, err)
	gid, err = strconv.Atoi(u.Gid)
	must(t, err)
	return uid, gid, true
}

func unprivileged(t testing.TB) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Setpgid:   true,            // Ctrl-C reaches the test, and the test ends the server
		Pdeathsig: syscall.SIGQUIT, // which ends PostgreSQL with all its processes, and Redis
	}
	if uid, gid, other := account(t); other {
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return attr
}

// folder makes a folder that belongs to the servers' user, removed with the test.
func folder(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kubernaut-"+name+"-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	give(t, dir)
	return dir
}

// give makes all below dir the property of the servers' user.
func give(t testing.TB, dir string) {
	t.Helper()
	uid, gid, other := account(t)
	if !other {
		return
	}
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, gid))
	}))
}

// port finds a port on the loopback interface that nobody listens on.
func port(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// program finds a server's program; without it the test cannot pass.
func program(t testing.TB, path, debian string) string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is missing: install the Debian package %s with `make deps`", path, debian)
	}
	return path
}

func needs(t testing.TB, server string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("needs %s: run `make test`", server)
	}
}

func tail(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-4000):])
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
