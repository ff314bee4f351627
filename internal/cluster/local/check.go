package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// What a local cluster takes, in GiB, as it was measured.
const (
	cacheRoom   = 4  // programs 1.1, images 1.3, the node's store 1.6
	buildRoom   = 14 // Go's build cache, once everything is compiled
	moduleRoom  = 4  // and its cache of modules
	memory      = 2  // a whole environment peaks at 0.9
	buildMemory = 4  // the linker of Kubernetes at 3.3
)

// Check looks at everything that a local cluster needs from the machine.
func Check(ctx context.Context, cache build.Cache) []Finding {
	compiling := compiles(cache)
	folders := []folder{{cache.Dir, cacheRoom}}
	if compiling {
		folders = append(folders, goCaches(ctx)...)
	}
	findings := []Finding{
		checkRoot(os.Geteuid()),
		checkPrograms(ctx, cache.Source),
		checkDisk(folders, diskOf),
		checkMemory(compiling, "/proc/meminfo"),
		checkPort(),
		checkGroups(),
	}
	if os.Geteuid() == 0 { // without it the kernel says no to everything
		findings = append(findings, checkKernel(ctx))
	}
	return findings
}

// compiles tells whether programs of other projects are still to be compiled. Our
// own take seconds and little else.
func compiles(cache build.Cache) bool {
	return slices.ContainsFunc(build.All(), func(p build.Program) bool {
		_, ok := cache.Lookup(p)
		return !ok && p.Module != "."
	})
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

func checkRoot(uid int) Finding {
	return Finding{
		Name: "root", OK: uid == 0, Found: fmt.Sprintf("user id %d", uid),
		Fix: "run it as root (sudo): namespaces, mounts and control groups need it",
	}
}

// pluginNames are the network plugins that the node's configuration names, and
// the one that containerd itself uses.
var pluginNames = []string{"ptp", "host-local", "loopback"}

// checkPrograms looks for what Debian packages bring: for what the node itself
// starts, and, where dpkg is, for all packages of the checkout.
func checkPrograms(ctx context.Context, checkout string) Finding {
	var missing []string
	need := func(pkg string, err error) {
		if err != nil {
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
	missing = append(missing, missingPackages(ctx, checkout)...)
	slices.Sort(missing)
	missing = slices.Compact(missing)
	if len(missing) == 0 {
		return Finding{Name: "programs", OK: true, Found: "all there"}
	}
	return Finding{
		Name: "programs", Found: "missing " + strings.Join(missing, ", "),
		Fix: "apt-get install -y --no-install-recommends " + strings.Join(missing, " "),
	}
}

// missingPackages are those of the checkout's list that dpkg does not know as
// installed; none where there is no dpkg or no list.
func missingPackages(ctx context.Context, checkout string) []string {
	dpkg, err := lookPath("dpkg-query")
	if err != nil {
		return nil
	}
	raw, err := os.ReadFile(filepath.Join(checkout, "packages.txt"))
	if err != nil {
		return nil
	}
	wanted := strings.Fields(string(raw))
	// It fails when one of them is unknown; what it prints is true all the same.
	out, _ := exec.CommandContext(ctx, dpkg, append([]string{"-W", "-f", "${Package} ${db:Status-Status}\n"}, wanted...)...).Output()
	installed := strings.Split(string(out), "\n")
	return slices.DeleteFunc(wanted, func(pkg string) bool { return slices.Contains(installed, pkg+" installed") })
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

// folder is one that gets that many GiB.
type folder struct {
	path string
	want uint64
}

// goCaches are the folders of the compiler. Where there is none, compiling says so.
func goCaches(ctx context.Context) []folder {
	out, err := exec.CommandContext(ctx, "go", "env", "GOCACHE", "GOMODCACHE").Output()
	paths := strings.Fields(string(out))
	if err != nil || len(paths) != 2 {
		return nil
	}
	return []folder{{paths[0], buildRoom}, {paths[1], moduleRoom}}
}

// disk is a file system.
type disk struct {
	number uint64
	free   uint64 // bytes
}

// diskOf is the disk that a folder is on, or will be on when it is made.
func diskOf(path string) (disk, error) {
	for ; ; path = filepath.Dir(path) {
		var fs unix.Statfs_t
		var at unix.Stat_t
		err := errors.Join(unix.Statfs(path, &fs), unix.Stat(path, &at))
		if errors.Is(err, os.ErrNotExist) && path != "/" {
			continue
		}
		return disk{at.Dev, fs.Bavail * uint64(fs.Bsize)}, err
	}
}

// checkDisk wants room on every disk for all folders that are on it.
func checkDisk(folders []folder, look func(path string) (disk, error)) Finding {
	f := Finding{Name: "disk", OK: true, Fix: "free some, or name folders on another disk with KUBERNAUT_CACHE, GOCACHE and GOMODCACHE"}
	type load struct {
		disk
		first string
		want  uint64
	}
	var loads []*load
	for _, folder := range folders {
		d, err := look(folder.path)
		if err != nil {
			return Finding{Name: f.Name, Found: err.Error(), Fix: f.Fix}
		}
		i := slices.IndexFunc(loads, func(l *load) bool { return l.number == d.number })
		if i < 0 {
			i, loads = len(loads), append(loads, &load{disk: d, first: folder.path})
		}
		loads[i].want += folder.want
	}
	var found []string
	for _, l := range loads {
		f.OK = f.OK && l.free >= l.want*gib
		found = append(found, fmt.Sprintf("%.1f GiB free at %s, %d needed", float64(l.free)/gib, l.first, l.want))
	}
	f.Found = strings.Join(found, "; ")
	return f
}

// checkMemory wants what a node takes, or a compiler.
func checkMemory(compiling bool, meminfo string) Finding {
	want := memory
	if compiling {
		want = buildMemory
	}
	raw, err := os.ReadFile(meminfo)
	if err != nil {
		return Finding{Name: "memory", Found: err.Error(), Fix: "mount /proc"}
	}
	have := available(raw)
	return Finding{
		Name: "memory", OK: have >= uint64(want)*gib, Found: fmt.Sprintf("%.1f GiB available, %d needed", float64(have)/gib, want),
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
