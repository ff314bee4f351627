package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process names one process for ever: its number alone would name another one
// some day.
type process struct {
	PID   int
	Start uint64 // clock ticks since the machine's start
	Boot  string // id of that start
}

// identify returns the identity of the process that has the number now.
func identify(pid int) (process, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return process{}, err
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	state, start, err := parseStat(raw)
	if err != nil {
		return process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	if state == 'Z' || state == 'X' {
		return process{}, fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	return process{PID: pid, Start: start, Boot: strings.TrimSpace(string(boot))}, nil
}

// parseStat reads state and start time from /proc/PID/stat. The second field is
// the program's name in brackets, which may itself hold brackets and spaces.
func parseStat(raw []byte) (state byte, start uint64, err error) {
	end := bytes.LastIndexByte(raw, ')')
	fields := strings.Fields(string(raw[end+1:]))
	const startField = 22 - 3 // the manual counts from 1 and includes pid and name
	if end < 0 || len(fields) <= startField {
		return 0, 0, errors.New("unexpected form of /proc/PID/stat")
	}
	start, err = strconv.ParseUint(fields[startField], 10, 64)
	return fields[0][0], start, err
}

// alive tells whether this very process still runs.
func (p process) alive() bool {
	if p.PID == 0 {
		return false
	}
	now, err := identify(p.PID)
	return err == nil && now == p
}

// kill ends the process and waits until it is gone. The end of a pid
// namespace's first process is the end of all in it.
func (p process) kill(ctx context.Context) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening process %d: %w", p.PID, err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing can be done about it
	if !p.alive() {      // asked after the descriptor was opened: it cannot change hands any more
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("ending process %d: %w", p.PID, err)
	}
	return awaitEnd(ctx, fd, p.PID)
}

// awaitEnd waits until the process behind the descriptor has ended.
func awaitEnd(ctx context.Context, fd, pid int) error {
	const slice = 100 * time.Millisecond // how soon the context's end is noticed
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(slice.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for process %d: %w", pid, err)
		}
		if n > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("process %d was killed and has not ended (perhaps it waits for a disk): %w", pid, context.Cause(ctx))
		}
	}
}
