// Package lockfile keeps processes of one machine out of each other's way.
//
// A lock is held by an open file, so the kernel gives it back when its holder
// ends, however it ends.
package lockfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// retryEvery is how often a held lock is asked for again; flock has no way to
// wait that a context could end.
const retryEvery = 100 * time.Millisecond

// Acquire takes the lock at path, which it creates with its folder where they
// are missing, and returns the function that gives it back. While another
// process holds the lock it calls busy, once, and waits until ctx ends.
func Acquire(ctx context.Context, path string, busy func()) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	if err := wait(ctx, file, busy); err != nil {
		_ = file.Close() // nothing was written
		return nil, err
	}
	return func() { _ = file.Close() }, nil // closing the file is giving back the lock
}

func wait(ctx context.Context, file *os.File, busy func()) error {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for first := true; ; first = false {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("locking %s: %w", file.Name(), err)
		}
		if first {
			busy()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s, which another process holds: %w", file.Name(), ctx.Err())
		case <-tick.C:
		}
	}
}
