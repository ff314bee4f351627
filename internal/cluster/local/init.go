package local

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// The names by which this program is started again, as another one.
const (
	enterName = "kubernaut-enter" // in new namespaces, not yet in its control group
	initName  = "kubernaut-node"  // pid 1 of a node
	probeName = "kubernaut-probe" // tries what a node needs
)

// The descriptors that init inherits.
const (
	listenerFD = 3 // the machine's loopback port of the API server
	startFD    = 4 // gives init's identity when it is known on disk, and nothing when Up died before
)

// Init makes this process a node's first process if it was started as one, and
// does not return then. A program that uses this package calls it before
// anything else in main, a test in TestMain.
func Init() {
	var become func(args []string) error
	switch os.Args[0] {
	case enterName:
		become = enter
	case initName:
		become = runNode
	case probeName:
		become = probe
	default:
		return
	}
	if err := become(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
	os.Exit(0)
}

// enter waits until Up has put this process into its control group, makes that
// group the root of all it will see, and becomes init.
func enter(args []string) error {
	start := os.NewFile(startFD, "start")
	identity, err := bufio.NewReader(start).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the process that started this node is gone: %w", err)
	}
	start.Close()
	// What else the caller had open (a lock, a pipe) must not live as long as the node.
	if err := unix.CloseRange(startFD+1, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("letting go of the caller's files: %w", err)
	}
	runtime.LockOSThread() // a namespace is entered by a thread; execve keeps this one's
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("making a cgroup namespace: %w", err)
	}
	return unix.Exec("/proc/self/exe", slices.Concat([]string{initName}, args, []string{identity}), os.Environ())
}

// runNode is pid 1 of a node. It returns only when the node could not be set up.
func runNode(args []string) error {
	if len(args) != 2 {
		return errors.New("wants the node's file and its own identity")
	}
	var n node
	if err := readJSON(args[0], &n); err != nil {
		return err
	}
	var self process
	if err := json.Unmarshal([]byte(args[1]), &self); err != nil {
		return fmt.Errorf("reading own identity: %w", err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	go stopOnSignal(told, log)
	if err := n.setUp(); err != nil {
		return errors.Join(err, writeJSON(n.statusFile(), report{Init: self, Failed: err.Error()}))
	}
	return n.serve(self, log)
}

// setUp makes the node what its programs expect: root, name, network.
func (n node) setUp() error {
	groups, err := detect()
	if err != nil {
		return err
	}
	if err := n.enterRoot(groups); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(n.hostname())); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	return connect()
}

// serve starts the components and forwards the port, for ever.
func (n node) serve(self process, log *slog.Logger) error {
	listener, err := net.FileListener(os.NewFile(listenerFD, "listener"))
	if err != nil {
		return fmt.Errorf("taking over the API server's port: %w", err)
	}
	client, err := n.httpClient("ca", "admin")
	if err != nil {
		return err
	}
	all := n.components()
	s := newSupervisor(n, self, log, all)
	ctx := context.Background() // a node has no other end than its own
	for _, c := range all {
		go s.keep(ctx, c)
	}
	go s.watchNode(ctx, n.nodeReady(client, "https://127.0.0.1:6443"))
	forward(listener, nodeIP+":6443", log)
	return io.ErrUnexpectedEOF // the listener is never closed
}
