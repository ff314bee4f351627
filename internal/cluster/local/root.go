package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mount mounts a file system of the kernel's own, which has no source.
func mount(fstype, target string, flags uintptr, data string) error {
	if err := unix.Mount(fstype, target, fstype, flags, data); err != nil {
		return fmt.Errorf("mounting %s at %s: %w", fstype, target, err)
	}
	return nil
}

// attach shows what is at source also at target, with all that is mounted below.
func attach(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("showing %s at %s: %w", source, target, err)
	}
	return nil
}

// alter changes the flags of what is mounted at target.
func alter(target string, flags uintptr) error {
	if err := unix.Mount("none", target, "", flags, ""); err != nil {
		return fmt.Errorf("changing the mount at %s: %w", target, err)
	}
	return nil
}

const readOnly = unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY

// enterRoot gives the node a root of its own, in memory, with the machine's
// programs in it, read-only, and the node's own files. Whatever is written
// elsewhere ends with the node.
func (n node) enterRoot(groups cgroups) error {
	if err := alter("/", unix.MS_REC|unix.MS_PRIVATE); err != nil {
		return err // from here on the machine sees none of our mounts
	}
	root := n.path("root")
	if err := mount("tmpfs", root, 0, "mode=755"); err != nil {
		return err
	}
	for _, fill := range []func(root string) error{n.fillPrograms, n.fillDevices, n.fillFiles, n.fillEtc} {
		if err := fill(root); err != nil {
			return err
		}
	}
	if err := pivot(root); err != nil {
		return err
	}
	if err := n.mountKernel(groups); err != nil {
		return err
	}
	// Pods may ask for mounts of theirs to be seen by the node.
	return alter("/", unix.MS_REC|unix.MS_SHARED)
}

// pivot makes root the root and lets go of the old one.
func pivot(root string) error {
	old := filepath.Join(root, ".machine")
	if err := os.Mkdir(old, 0o700); err != nil {
		return err
	}
	if err := unix.PivotRoot(root, old); err != nil {
		return fmt.Errorf("changing the root to %s: %w", root, err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount("/.machine", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("letting go of the machine's root: %w", err)
	}
	return os.Remove("/.machine")
}

// fillPrograms shows the machine's programs and libraries.
func (n node) fillPrograms(root string) error {
	for _, dir := range []string{"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt"} {
		if err := show(root, "/"+dir); err != nil {
			return err
		}
	}
	return nil
}

// show makes a file, folder or link of the machine visible at the same place
// below root, read-only. What the machine lacks is left out.
func show(root, path string) error {
	info, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	target := filepath.Join(root, path)
	if info.Mode()&os.ModeSymlink != 0 {
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(to, target)
	}
	if err := bind(path, target, info.IsDir()); err != nil {
		return err
	}
	return alter(target, readOnly)
}

// bind shows source at target, which it creates.
func bind(source, target string, folder bool) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if folder {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
	} else if err := os.WriteFile(target, nil, 0o644); err != nil {
		return err
	}
	return attach(source, target)
}

// devices are the ones of the machine that a node needs. kubelet reads kmsg to
// see which process the kernel ended for want of memory.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty", "kmsg", "fuse"}

func (n node) fillDevices(root string) error {
	dev := filepath.Join(root, "dev")
	if err := os.Mkdir(dev, 0o755); err != nil {
		return err
	}
	if err := mount("tmpfs", dev, unix.MS_NOSUID, "mode=755"); err != nil {
		return err
	}
	for _, name := range devices {
		if _, err := os.Stat("/dev/" + name); err != nil {
			continue // this machine has none
		}
		if err := bind("/dev/"+name, filepath.Join(dev, name), false); err != nil {
			return err
		}
	}
	for _, link := range [][2]string{{"pts/ptmx", "ptmx"}, {"/proc/self/fd", "fd"}, {"fd/0", "stdin"}, {"fd/1", "stdout"}, {"fd/2", "stderr"}} {
		if err := os.Symlink(link[0], filepath.Join(dev, link[1])); err != nil {
			return err
		}
	}
	for _, m := range []struct{ name, fstype, data string }{
		{"pts", "devpts", "newinstance,ptmxmode=0666,mode=620,gid=5"},
		{"shm", "tmpfs", "mode=1777"},
		{"mqueue", "mqueue", ""},
	} {
		dir := filepath.Join(dev, m.name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := mount(m.fstype, dir, unix.MS_NOSUID|unix.MS_NOEXEC, m.data); err != nil {
			return err
		}
	}
	return nil
}

// fillFiles shows what outlives the node's processes: its own folder at the
// path it has on the machine, /var, and containerd's store.
func (n node) fillFiles(root string) error {
	for _, dir := range []string{"run", "tmp"} {
		target := filepath.Join(root, dir)
		if err := os.Mkdir(target, 0o755); err != nil {
			return err
		}
		if err := mount("tmpfs", target, unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(root, "tmp"), 0o777|os.ModeSticky); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(root, "root"), 0o700); err != nil {
		return err
	}
	for source, target := range map[string]string{n.Dir: n.Dir, n.path("var"): "/var"} {
		if err := bind(source, filepath.Join(root, target), true); err != nil {
			return err
		}
	}
	// Relative: seen from the machine it must not lead to the machine's own.
	if err := os.Symlink("../run", filepath.Join(root, "var/run")); err != nil && !os.IsExist(err) {
		return err
	}
	return bind(n.Content, filepath.Join(root, "var/lib/containerd"), true)
}

// fillEtc writes the few files of /etc that the node's programs read.
func (n node) fillEtc(root string) error {
	for name, content := range n.etc() {
		path := filepath.Join(root, "etc", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	for _, name := range []string{"ld.so.cache", "alternatives"} {
		if err := show(root, "/etc/"+name); err != nil {
			return err
		}
	}
	return nil
}

// mountKernel mounts the views of the kernel, as the node's namespaces make
// them, and keeps the node from changing the machine's settings.
func (n node) mountKernel(groups cgroups) error {
	for _, m := range []struct{ fstype, target string }{{"proc", "/proc"}, {"sysfs", "/sys"}} {
		if err := os.Mkdir(m.target, 0o555); err != nil {
			return err
		}
		if err := mount(m.fstype, m.target, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return err
		}
	}
	if err := groups.Mount("/sys/fs/cgroup"); err != nil {
		return err
	}
	return guardSettings()
}

// wanted are the machine-wide settings on which kubelet insists. It is shown
// files with these values; the machine keeps its own.
var wanted = map[string]string{
	"vm/overcommit_memory":      "1",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// guardSettings makes /proc/sys read-only but for what belongs to the node's
// own network namespace.
func guardSettings() error {
	const settings = "/proc/sys"
	for _, path := range []string{settings, settings + "/net"} { // the second stays writable
		if err := attach(path, path); err != nil {
			return err
		}
	}
	if err := alter(settings, readOnly); err != nil {
		return err
	}
	for name, value := range wanted {
		file := "/run/sysctl/" + strings.ReplaceAll(name, "/", ".")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := attach(file, filepath.Join(settings, name)); err != nil {
			return err
		}
	}
	return nil
}
