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

// cgroups2 is version 2: one tree for all controllers, in which a group that
// hands controllers down may hold no process itself, except the root.
type cgroups2 struct {
	root string // where it is mounted
}

// Make puts the group below the root, the only one that has processes and may
// hand down controllers all the same.
func (c cgroups2) Make(name string, pid int) error {
	if err := handDown(c.root); err != nil {
		return err
	}
	dir := filepath.Join(c.root, name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("control group %s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
		return fmt.Errorf("control group %s: %w", name, err)
	}
	return nil
}

// Mount mounts the tree and moves the caller into a group of its own, so that
// the root of what it sees can hand down controllers to pods.
func (c cgroups2) Mount(target string) error {
	if err := mount("cgroup2", target, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	own := filepath.Join(target, "node")
	if err := os.Mkdir(own, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(own, "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("moving into control group %s: %w", own, err)
	}
	return handDown(target)
}

// String names the version.
func (c cgroups2) String() string { return "version 2" }

// Has tells whether the tree carries the controller.
func (c cgroups2) Has(controller string) bool {
	have, err := words(filepath.Join(c.root, "cgroup.controllers"))
	return err == nil && slices.Contains(have, controller)
}

// Folders finds the group, wherever it is.
func (c cgroups2) Folders(name string) ([]string, error) { return foldersNamed(c.root, name) }

// handDown lets the groups below dir use every controller that dir has.
func handDown(dir string) error {
	have, err := words(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "cgroup.subtree_control")
	given, err := words(file)
	if err != nil {
		return err
	}
	for _, controller := range have {
		if slices.Contains(given, controller) {
			continue
		}
		if err := os.WriteFile(file, []byte("+"+controller), 0); err != nil {
			return fmt.Errorf("handing down controller %s (a group that holds processes itself cannot, unless it is the machine's root): %w", controller, err)
		}
	}
	return nil
}

func words(path string) ([]string, error) {
	raw, err := os.ReadFile(path)
	return strings.Fields(string(raw)), err
}
