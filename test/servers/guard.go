package servers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// guard ends processes when this one ends, however it does, and returns how to let
// go of them. Those of envtest have no parent-death signal, and one that outlives
// its test keeps a port, memory and every lock that it inherited. A shell waits at
// a pipe that the kernel closes with us.
func guard(pids []int) (release func(), err error) {
	arguments := []string{"-c", `read -r _; kill -9 "$@"`, "guard"}
	for _, pid := range pids {
		arguments = append(arguments, strconv.Itoa(pid))
	}
	shell := exec.Command("/bin/sh", arguments...)
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is not for it
	pipe, err := shell.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := shell.Start(); err != nil {
		return nil, fmt.Errorf("guarding the servers: %w", err)
	}
	return func() {
		_ = shell.Process.Kill() // before the pipe closes
		_ = shell.Wait()
		_ = pipe.Close()
	}, nil
}

// childrenOf are the processes that this one has started from programs in a folder.
func childrenOf(dir string) []int {
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return nil
	}
	var found []int
	for _, list := range lists {
		raw, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended; its children have another parent now
		}
		for field := range strings.FieldsSeq(string(raw)) {
			pid, err := strconv.Atoi(field)
			line, readErr := os.ReadFile(filepath.Join("/proc", field, "cmdline"))
			if err == nil && readErr == nil && strings.HasPrefix(string(line), dir+"/") {
				found = append(found, pid)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
