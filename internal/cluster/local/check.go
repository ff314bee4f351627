package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"kubernaut.ai/kubernaut/internal/build"
)

// Finding is what was seen of one thing that a local cluster needs.
type Finding struct {
	Name  string // what is needed
	OK    bool
	Found string // what there is
	Fix   string // how to get it, when it is not there
}

const gib = 1 << 30

// Check looks at everything that a local cluster needs from the machine.
func Check(ctx context.Context, cache build.Cache) []Finding {
	built := true
	for _, p := range []build.Program{build.Kubernetes, build.Containerd} {
		_, ok := cache.Lookup(p)
		built = built && ok
	}
	findings := []Finding{
		checkRoot(),
		checkPrograms(),
		checkDisk(cache.Dir, built),
		checkMemory(built),
		checkPort(),
		checkGroups(),
	}
	if os.Geteuid() == 0 { // without it the kernel says no to everything
		findings = append(findings, checkKernel(ctx))
	}
	return findings
}

// blocking joins what keeps a cluster from running.
func blocking(findings []Finding) error {
	var errs []error
	for _, f := range findings {
		if !f.OK {
			errs = append(errs, fmt.Errorf("%s: %s: %s", f.Name, f.Found, f.Fix))
		}
	}
	return errors.Join(errs...)
}

func checkRoot() Finding {
	uid := os.Geteuid()
	return Finding{
		Name: "root", OK: uid == 0, Found: fmt.Sprintf("user id %d", uid),
		Fix: "run it as root (sudo): namespaces, mounts and control groups need it",
	}
}

// pluginNames are the network plugins that the node's configuration names, and
// the one that containerd itself uses.
var pluginNames = []string{"ptp", "host-local", "loopback"}

// checkPrograms looks for what Debian packages bring.
func checkPrograms() Finding {
	f := Finding{Name: "programs", OK: true}
	var missing []string
	need := func(pkg string, err error) {
		if err != nil {
			f.OK = false
			missing = append(missing, pkg)
		}
	}
	_, err := findRunc()
	need("runc", err)
	_, err = findCNI()
	need("containernetworking-plugins", err)
	for program, pkg := range map[string]string{"nft": "nftables", "ip": "iproute2"} {
		_, err := lookPath(program)
		need(pkg, err)
	}
	f.Found = "all there"
	if !f.OK {
		f.Found = "missing " + strings.Join(missing, ", ")
		f.Fix = "apt-get install -y --no-install-recommends " + strings.Join(missing, " ")
	}
	return f
}

func findRunc() (string, error) { return lookPath("runc") }

// lookPath looks where programs of root are, whatever PATH says.
func lookPath(name string) (string, error) {
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("program %s is in none of the system's folders: install it (`make deps`)", name)
}

func findCNI() (string, error) {
	for _, dir := range []string{"/usr/lib/cni", "/usr/libexec/cni", "/opt/cni/bin"} {
		all := true
		for _, name := range pluginNames {
			_, err := os.Stat(filepath.Join(dir, name))
			all = all && err == nil
		}
		if all {
			return dir, nil
		}
	}
	return "", fmt.Errorf("the network plugins %s are in no known folder: install containernetworking-plugins (`make deps`)", strings.Join(pluginNames, ", "))
}

// checkDisk wants room for the node, and for compiling it where that is to come:
// measured, Go's caches take 9 GiB.
func checkDisk(dir string, built bool) Finding {
	want := uint64(14)
	if built {
		want = 3
	}
	for ; ; dir = filepath.Dir(dir) { // the cache may not be there yet
		var fs unix.Statfs_t
		err := unix.Statfs(dir, &fs)
		if errors.Is(err, os.ErrNotExist) && dir != "/" {
			continue
		}
		if err != nil {
			return Finding{Name: "disk", Found: err.Error(), Fix: "name a folder for the cache with KUBERNAUT_CACHE"}
		}
		free := fs.Bavail * uint64(fs.Bsize)
		return Finding{
			Name: "disk", OK: free >= want*gib, Found: fmt.Sprintf("%.1f GiB free at %s, %d needed", float64(free)/gib, dir, want),
			Fix: "free some, or name a folder on another disk with KUBERNAUT_CACHE",
		}
	}
}

// checkMemory wants what was measured: 1.6 GiB for a node with everything on it,
// 3.3 GiB for compiling Kubernetes.
func checkMemory(built bool) Finding {
	want := 4.0
	if built {
		want = 2.0
	}
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return Finding{Name: "memory", Found: err.Error(), Fix: "mount /proc"}
	}
	have := float64(available(raw)) / gib
	return Finding{
		Name: "memory", OK: have >= want, Found: fmt.Sprintf("%.1f GiB available, %.0f needed", have, want),
		Fix: "end other programs, or add memory",
	}
}

// available reads the bytes that /proc/meminfo says programs may still take.
func available(meminfo []byte) uint64 {
	for line := range strings.Lines(string(meminfo)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

func checkPort() Finding {
	f := Finding{Name: "port", Fix: "free one"}
	listener, err := listen(0, 0, func(string) {})
	if err != nil {
		f.Found = err.Error()
		return f
	}
	defer listener.Close()
	f.OK, f.Found = true, fmt.Sprintf("%s is free", listener.Addr())
	return f
}

func checkGroups() Finding {
	f := Finding{Name: "control groups", Fix: "start the machine with its kernel's cpu, cpuset, memory and pids controllers"}
	groups, err := detect()
	if err != nil {
		f.Found = err.Error()
		return f
	}
	var missing []string
	for _, controller := range []string{"cpu", "cpuset", "memory", "pids"} {
		if !groups.Has(controller) {
			missing = append(missing, controller)
		}
	}
	f.OK, f.Found = len(missing) == 0, groups.String()
	if !f.OK {
		f.Found += " without " + strings.Join(missing, ", ")
	}
	return f
}

// checkKernel tries, in namespaces of its own, what a node will do.
func checkKernel(ctx context.Context) Finding {
	f := Finding{Name: "kernel", Fix: "use a kernel with namespaces, overlayfs, veth and nftables (Debian's has all); inside a container, give it the privileges"}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{probeName}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Unshareflags: unix.CLONE_NEWCGROUP}
	out, err := cmd.CombinedOutput()
	f.OK, f.Found = err == nil, "namespaces, overlayfs, veth, nftables"
	if err != nil {
		f.Found = fmt.Sprintf("%v: %s", err, bytes.TrimSpace(out))
	}
	return f
}

// probe runs in new namespaces, which take with them whatever it makes.
func probe([]string) error {
	if err := alter("/", unix.MS_REC|unix.MS_PRIVATE); err != nil {
		return err
	}
	if err := mount("tmpfs", "/tmp", 0, ""); err != nil {
		return err
	}
	for _, dir := range []string{"/tmp/lower", "/tmp/upper", "/tmp/work", "/tmp/merged"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := mount("overlay", "/tmp/merged", 0, "lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work"); err != nil {
		return err
	}
	for _, try := range [][]string{
		{"ip", "link", "add", "probe0", "type", "veth", "peer", "name", "probe1"},
		{"nft", "add table ip probe; add chain ip probe nat { type nat hook output priority 0; }; add rule ip probe nat ip daddr 10.96.0.1 dnat to 10.20.0.1"},
	} {
		path, err := lookPath(try[0])
		if err != nil {
			return err
		}
		if out, err := exec.Command(path, try[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(try, " "), err, bytes.TrimSpace(out))
		}
	}
	return nil
}
