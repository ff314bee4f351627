package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroups1 is version 1: one tree for each controller, or for several together.
type cgroups1 []hierarchy

// hierarchy is one tree, and our own place in it.
type hierarchy struct {
	Controllers string // as one mounts it: "cpu,cpuacct", "name=systemd"
	Point       string // where it is mounted
	Own         string // folder of our own group
}

// newCgroups1 matches our memberships with what is mounted. A hierarchy that is
// mounted nowhere is left out: nothing can be done with it.
func newCgroups1(own []membership, mounts []cgroupMount) (cgroups1, error) {
	var all cgroups1
	for _, m := range own {
		if m.Controllers == "" {
			continue // version 2
		}
		i := slices.IndexFunc(mounts, func(mount cgroupMount) bool {
			return mount.Version == 1 && mount.carries(m.Controllers)
		})
		if i < 0 {
			continue
		}
		below, err := filepath.Rel(mounts[i].Root, m.Path)
		if err != nil || strings.HasPrefix(below, "..") {
			return nil, fmt.Errorf("our control group %s (%s) is not below what is mounted at %s", m.Path, m.Controllers, mounts[i].Point)
		}
		all = append(all, hierarchy{m.Controllers, mounts[i].Point, filepath.Join(mounts[i].Point, below)})
	}
	return all, nil
}

func (m cgroupMount) carries(controllers string) bool {
	for c := range strings.SplitSeq(controllers, ",") {
		if !slices.Contains(m.Options, c) {
			return false
		}
	}
	return true
}

// String names the version.
func (c cgroups1) String() string { return "version 1" }

// Has tells whether one of the hierarchies carries the controller.
func (c cgroups1) Has(controller string) bool {
	return slices.ContainsFunc(c, func(h hierarchy) bool { return h.has(controller) })
}

func (h hierarchy) has(controller string) bool {
	return slices.Contains(strings.Split(h.Controllers, ","), controller)
}

// Make puts the group below our own one, so that limits on us hold for the node.
func (c cgroups1) Make(name string, pid int) error {
	for _, h := range c {
		if err := h.makeGroup(name, pid); err != nil {
			return fmt.Errorf("control group %s (%s): %w", name, h.Controllers, err)
		}
	}
	return nil
}

func (h hierarchy) makeGroup(name string, pid int) error {
	dir := filepath.Join(h.Own, name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if h.has("cpuset") { // a new group has no processors and may hold no process
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(h.Own, file))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, file), value, 0); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

// Mount mounts each hierarchy in a folder of its controllers' names.
func (c cgroups1) Mount(target string) error {
	if err := mount("tmpfs", target, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755"); err != nil {
		return err
	}
	for _, h := range c {
		dir := filepath.Join(target, strings.TrimPrefix(h.Controllers, "name="))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		data := h.Controllers
		if strings.HasPrefix(data, "name=") {
			data = "none," + data
		}
		if err := mount("cgroup", dir, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, data); err != nil {
			return err
		}
		if err := h.links(target); err != nil {
			return err
		}
	}
	return nil
}

// links gives each of several controllers that are mounted together its own name.
func (h hierarchy) links(target string) error {
	names := strings.Split(h.Controllers, ",")
	if len(names) == 1 {
		return nil
	}
	for _, name := range names {
		if err := os.Symlink(h.Controllers, filepath.Join(target, name)); err != nil {
			return err
		}
	}
	return nil
}

// Folders finds the group in every hierarchy.
func (c cgroups1) Folders(name string) ([]string, error) {
	var all []string
	for _, h := range c {
		found, err := foldersNamed(h.Point, name)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}
