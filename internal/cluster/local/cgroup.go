package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cgroups is one of the two ways in which Linux groups processes. A node is
// the group of its name and everything below it.
type cgroups interface {
	// Make creates the group and puts the process into it.
	Make(name string, pid int) error
	// Mount shows the caller's own group, as the root of all it can see, at
	// target. The caller is in a cgroup namespace of its own.
	Mount(target string) error
	// Folders lists the group's folders, also those that an earlier start left.
	Folders(name string) ([]string, error)
	// Has tells whether the controller is there.
	Has(controller string) bool
	// String names the version.
	String() string
}

// detect finds out which version the machine uses for its controllers.
func detect() (cgroups, error) {
	raw, err := os.ReadFile("/proc/self/cgroup") // whole: it changes while one moves
	if err != nil {
		return nil, err
	}
	own, err := parseMembership(raw)
	if err != nil {
		return nil, err
	}
	raw, err = os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return choose(own, parseMounts(raw))
}

// membership is one line of /proc/self/cgroup: a hierarchy and our place in it.
type membership struct {
	Controllers string // "cpu,cpuacct", "name=systemd", or empty for version 2
	Path        string
}

func parseMembership(raw []byte) ([]membership, error) {
	var all []membership
	for line := range strings.Lines(string(raw)) {
		_, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, path, ok2 := strings.Cut(rest, ":")
		if !ok || !ok2 || !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("unexpected line in /proc/self/cgroup: %q", line)
		}
		all = append(all, membership{Controllers: controllers, Path: path})
	}
	return all, nil
}

// cgroupMount is a mounted hierarchy.
type cgroupMount struct {
	Root    string // the group that is shown
	Point   string // where
	Version int
	Options []string // the controllers, among others
}

// parseMounts picks the control groups out of /proc/self/mountinfo.
func parseMounts(raw []byte) []cgroupMount {
	var all []cgroupMount
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 {
			continue
		}
		m := cgroupMount{Root: left[3], Point: left[4], Options: strings.Split(right[2], ",")}
		switch right[0] {
		case "cgroup":
			m.Version = 1
		case "cgroup2":
			m.Version = 2
		default:
			continue
		}
		all = append(all, m)
	}
	return all
}

// choose prefers version 1 where it has the memory controller, since a
// controller is in one version only.
func choose(own []membership, mounts []cgroupMount) (cgroups, error) {
	v1, err := newCgroups1(own, mounts)
	if err != nil {
		return nil, err
	}
	if v1.Has("memory") {
		return v1, nil
	}
	for _, m := range mounts {
		if m.Version == 2 {
			return cgroups2{root: m.Point}, nil
		}
	}
	return nil, errors.New("no control groups are mounted: mount cgroup2 at /sys/fs/cgroup")
}

// foldersNamed looks for a group by its name in a mounted hierarchy: a node may
// have been started from another place in it than we are at now.
func foldersNamed(point, name string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(point, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // groups come and go
			return nil
		}
		if err == nil && e.IsDir() && e.Name() == name {
			found = append(found, path)
			return fs.SkipDir
		}
		return err
	})
	return found, err
}

// members lists the processes in the folders and below.
func members(folders []string) ([]int, error) {
	var pids []int
	err := eachGroup(folders, func(dir string) error {
		raw, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.EOPNOTSUPP) {
			return nil // gone meanwhile, or a group of threads
		}
		for field := range strings.FieldsSeq(string(raw)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return err
			}
			pids = append(pids, pid)
		}
		return err
	})
	slices.Sort(pids)
	return slices.Compact(pids), err
}

// removeGroups removes the folders and all below. The kernel keeps a group for
// a moment after its last process: it is asked again until ctx ends.
func removeGroups(ctx context.Context, folders []string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := eachGroup(folders, func(dir string) error {
			if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return &fs.PathError{Op: "removing control group", Path: dir, Err: err}
			}
			return nil
		})
		if !errors.Is(err, syscall.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: processes are still in it", err)
		case <-tick.C:
		}
	}
}

// eachGroup visits the folders and all below, the deepest first.
func eachGroup(folders []string, visit func(dir string) error) error {
	for _, top := range folders {
		var dirs []string
		err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, dir := range slices.Backward(dirs) {
			if err := visit(dir); err != nil {
				return err
			}
		}
	}
	return nil
}
