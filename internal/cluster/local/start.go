package local

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
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kubernaut.ai/kubernaut/internal/build"
)

// start starts a node that does not run, after clearing away what an earlier
// one left. What the earlier one kept on disk (etcd, volumes, certificates) is
// used again, as after a machine's restart.
func (c *Cluster) start(ctx context.Context, last record, say func(string)) (record, error) {
	if !c.options.Checked {
		if err := blocking(Check(ctx, c.cache)); err != nil {
			return record{}, err
		}
	}
	if err := c.sweep(ctx, last); err != nil {
		return record{}, err
	}
	if err := c.prepare(ctx, say); err != nil {
		return record{}, err
	}
	listener, err := listen(c.options.Port, last.Port, say)
	if err != nil {
		return record{}, err
	}
	defer listener.Close() // the node has its own descriptor of it
	return c.launch(listener)
}

// prepare puts everything into the node's folder that init will need.
func (c *Cluster) prepare(ctx context.Context, say func(string)) error {
	n := &c.node
	for _, dir := range []string{"bin", "config", "logs", "pki", "root", "var/log", "var/lib/containerd", "var/lib/etcd"} {
		if err := os.MkdirAll(n.path(dir), 0o700); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(n.Content, 0o700); err != nil {
		return err
	}
	for _, dir := range []string{"", "var", "var/log", "var/lib"} { // pods that are not root pass through
		if err := os.Chmod(n.path(dir), 0o755); err != nil {
			return err
		}
	}
	if err := c.findPrograms(ctx, say); err != nil {
		return err
	}
	pause, err := c.pause(ctx, say)
	if err != nil {
		return err
	}
	n.Pause = pause.Reference
	certs, err := n.issue(time.Now())
	if err != nil {
		return err
	}
	if err := n.writeConfigs(certs, certs["ca"].Cert); err != nil {
		return err
	}
	if err := n.keepLogs(); err != nil {
		return err
	}
	return writeJSON(n.nodeFile(), n)
}

// findPrograms builds what is ours to build, links it into the node's folder,
// and finds what comes from the system.
func (c *Cluster) findPrograms(ctx context.Context, say func(string)) error {
	kubernetes := []string{etcd, apiServer, controllers, scheduler, kubelet, kubeProxy, "kubectl"}
	for _, p := range []struct {
		build.Program
		names []string
	}{
		{build.Kubernetes, kubernetes},
		{build.Containerd, []string{containerd}},
		{build.ContainerdShim, []string{build.ContainerdShim.Name}},
		{build.Ctr, []string{"ctr"}},
	} {
		path, err := c.cache.Build(ctx, p.Program, say)
		if err != nil {
			return err
		}
		for _, name := range p.names {
			if err := hardLink(path, c.node.program(name)); err != nil {
				return err
			}
		}
	}
	var err error
	if c.node.Runc, err = findRunc(); err != nil {
		return err
	}
	c.node.CNI, err = findCNI()
	return err
}

// hardLink gives the node a name of its own for the program's file, which thus
// outlives what happens to the cache.
func hardLink(from, to string) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Link(from, to)
}

// keepLogs moves the logs of the last start aside; those before it go.
func (n node) keepLogs() error {
	logs, err := filepath.Glob(n.log("*"))
	if err != nil {
		return err
	}
	for _, path := range logs {
		if err := os.Rename(path, path+".last"); err != nil {
			return err
		}
	}
	return os.RemoveAll(n.statusFile())
}

// The ports that are tried when none was asked for.
const firstPort, lastPort = 16443, 16542

// listen opens the machine's port of the API server. The last one is taken
// again if it is free, so that a copied kubeconfig stays good.
func listen(asked, last int, say func(string)) (*net.TCPListener, error) {
	if asked != 0 {
		return listenOn(asked)
	}
	if last != 0 {
		listener, err := listenOn(last)
		if err == nil {
			return listener, nil
		}
		say(fmt.Sprintf("%v; taking another one", err))
	}
	for port := firstPort; port <= lastPort; port++ {
		if listener, err := listenOn(port); err == nil {
			return listener, nil
		}
	}
	return nil, fmt.Errorf("no port from %d to %d is free on 127.0.0.1: free one or name another with --port", firstPort, lastPort)
}

func listenOn(port int) (*net.TCPListener, error) {
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d on 127.0.0.1 is in use by another program: stop it (`ss -ltnp sport = :%d` names it) or name another port with --port", port, port)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the API server's port: %w", err)
	}
	return listener.(*net.TCPListener), nil
}

// launch starts init. It is told to go on only when it stands in the record, so
// a node that nobody knows of cannot be.
func (c *Cluster) launch(listener *net.TCPListener) (record, error) {
	groups, err := detect()
	if err != nil {
		return record{}, err
	}
	socket, err := listener.File()
	if err != nil {
		return record{}, err
	}
	defer socket.Close()
	wait, goOn, err := os.Pipe()
	if err != nil {
		return record{}, err
	}
	defer goOn.Close()
	cmd, err := c.spawn(socket, wait)
	wait.Close()
	if err != nil {
		return record{}, err
	}
	go cmd.Wait() //nolint:errcheck // collects it if it ends while we live; why it ended is in its log
	self, err := identify(cmd.Process.Pid)
	if err != nil {
		return record{}, fmt.Errorf("the node's first process ended at once: %w", err)
	}
	rec := record{Init: self, Port: listener.Addr().(*net.TCPAddr).Port, Started: time.Now()}
	if err := writeJSON(c.node.recordFile(), rec); err != nil {
		return record{}, err
	}
	if err := groups.Make(c.group(), self.PID); err != nil {
		return record{}, err
	}
	identity, err := json.Marshal(self)
	if err != nil {
		return record{}, err
	}
	_, err = goOn.Write(append(identity, '\n'))
	return rec, err
}

// spawn starts this program again, as the first process of new namespaces. It
// waits until it can read from the pipe.
func (c *Cluster) spawn(socket, wait *os.File) (*exec.Cmd, error) {
	log, err := os.OpenFile(c.node.log("init"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{enterName, c.node.nodeFile()}
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.ExtraFiles = []*os.File{listenerFD - 3: socket, startFD - 3: wait}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: namespaces}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the node's first process in new namespaces: %w", err)
	}
	return cmd, nil
}

// namespaces are those that a process must be born into. The cgroup namespace
// comes later: its root is the group that the process is in then.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
