package image

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"kubernaut.ai/kubernaut/internal/build"
)

// stubs builds every program as one small file, whose content is its name.
type stubs struct{ dir string }

func (s stubs) Build(_ context.Context, p build.Program, _ func(string)) (string, error) {
	path := filepath.Join(s.dir, p.Name)
	return path, os.WriteFile(path, []byte(p.Name), 0o755)
}

func TestEveryImageHasOneNameAndANumericUser(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Recipes() {
		if seen[r.Name] {
			t.Errorf("two recipes are called %s", r.Name)
		}
		seen[r.Name] = true
		if r.Config.User == 0 {
			t.Errorf("image %s runs as root", r.Name)
		}
		if len(r.Config.Entrypoint) == 0 {
			t.Errorf("image %s does not say what it starts", r.Name)
		}
	}
}

// rootOf unpacks the image of a recipe into a folder that chroot can enter.
func rootOf(t *testing.T, r Recipe) string {
	t.Helper()
	if testing.Short() {
		t.Skip("unpacks an image of Debian packages: run make test")
	}
	if os.Getuid() != 0 {
		t.Skip("chroot needs root")
	}
	img, err := Store{Programs: stubs{t.TempDir()}}.Image(t.Context(), r, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root")
	unpack(t, img, root)
	devices(t, root)
	openFolders(t, root)
	return root
}

func unpack(t *testing.T, img v1.Image, root string) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		eachEntry(t, layer, func(h *tar.Header, content io.Reader) {
			if err := unpackEntry(h, content, filepath.Join(root, h.Name)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func unpackEntry(h *tar.Header, content io.Reader, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		return unpackMode(h, path)
	case tar.TypeSymlink:
		return os.Symlink(h.Linkname, path)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, content); err != nil {
		return err
	}
	return unpackMode(h, path)
}

func unpackMode(h *tar.Header, path string) error {
	if err := os.Chown(path, h.Uid, h.Gid); err != nil {
		return err
	}
	return syscall.Chmod(path, uint32(h.Mode))
}

// devices gives the root what a container runtime would.
func devices(t *testing.T, root string) {
	t.Helper()
	shm := filepath.Join(root, "dev/shm")
	if err := os.MkdirAll(shm, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Chmod(shm, 0o1777); err != nil {
		t.Fatal(err)
	}
	null := filepath.Join(root, "dev/null")
	if err := unix.Mknod(null, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(null, 0o666); err != nil {
		t.Fatal(err)
	}
}

// openFolders lets the image's user enter the test's own folders on the way.
func openFolders(t *testing.T, root string) {
	t.Helper()
	for dir := filepath.Dir(root); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// inside runs a command of the image as the image's user.
func inside(ctx context.Context, root string, r Recipe, command ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	id := uint32(r.Config.User)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: id, Gid: id}}
	cmd.Dir = "/"
	cmd.Env = withPath(r.Config.Env)
	return cmd
}

func wantOutput(t *testing.T, cmd *exec.Cmd, want string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), want) {
		t.Errorf("%s: %v\n%s\nwant output with %q", cmd, err, out, want)
	}
}

func TestRedisImageIsComplete(t *testing.T) {
	root := rootOf(t, redis)
	wantOutput(t, inside(t.Context(), root, redis, "/usr/bin/redis-server", "--version"), "Redis server v=7")
	wantOutput(t, inside(t.Context(), root, redis, "/usr/bin/redis-cli", "--version"), "redis-cli 7")
	wantOutput(t, inside(t.Context(), root, redis, "/bin/sh", "-c", "id -un; echo writable >/data/file; cat /data/file"), "redis\nwritable")
}

func TestShellImagesRunScripts(t *testing.T) {
	for _, r := range []Recipe{shell, tools} {
		t.Run(r.Name, func(t *testing.T) {
			root := rootOf(t, r)
			wantOutput(t, inside(t.Context(), root, r, "/bin/sh", "-c", "echo a b | cut -d' ' -f2; id -u"), "b\n65532")
		})
	}
}

func TestPostgreSQLImageLeavesTheCompilerOut(t *testing.T) {
	root := rootOf(t, postgresql)
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if name := filepath.Base(path); strings.HasPrefix(name, "libLLVM") || name == "llvmjit.so" || name == "bitcode" {
			t.Errorf("the image holds %s", strings.TrimPrefix(path, root))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"postgres", "initdb", "psql", "pg_isready"} {
		wantOutput(t, inside(t.Context(), root, postgresql, postgresHome+"/bin/"+program, "--version"), "PostgreSQL) 15.")
	}
}
