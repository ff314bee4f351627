package servers

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"github.com/google/uuid"
)

// marker stands in the environment of every server that this program starts.
const marker = "KUBERNAUT_TEST_PROGRAM"

// guard ends the servers that outlive this program, however it ended. Those of
// envtest have no parent-death signal, and one that stays keeps a port, memory and
// every lock that it inherited. A shell waits at a pipe that the kernel closes with
// us, and looks for whoever bears our mark. The pipe is the result, so that it stays
// reachable, and thus open, for as long as we live.
var guard = sync.OnceValues(func() (lifeline io.Closer, err error) {
	mark := uuid.NewString()
	shell := exec.Command("/bin/sh", "-c", `
		read -r _
		for process in /proc/[0-9]*; do
			if grep -qszFx "$0" "$process/environ"; then kill -9 "${process#/proc/}"; fi
		done`, marker+"="+mark)
	shell.Env = []string{"PATH=/usr/bin:/bin"}
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is not for it
	if lifeline, err = shell.StdinPipe(); err != nil {
		return nil, err
	}
	if err := shell.Start(); err != nil {
		return nil, fmt.Errorf("guarding the servers: %w", err)
	}
	return lifeline, os.Setenv(marker, mark)
})
