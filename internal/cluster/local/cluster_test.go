package local

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/image"
)

// realCluster returns a cluster of that name, which is gone when the test ends.
func realCluster(t *testing.T, name string) *Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real cluster: run make test")
	}
	cache, err := build.Open()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := cache.Lookup(build.Kubernetes); !ok {
		t.Fatal("kubernetes is not built: run `make build`, then `bin/kubernaut env build`")
	}
	c, err := New(cache, Options{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			dir := cmp.Or(os.Getenv("KUBERNAUT_ARTEFACTS"), os.TempDir())
			_ = os.MkdirAll(dir, 0o755) // without it there is only less to look at
			_ = exec.Command("cp", "-r", c.node.path("logs"), filepath.Join(dir, "kubernaut-logs-"+name)).Run()
		}
		if err := c.Down(context.Background()); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(c.node.Content); err != nil {
			t.Error(err)
		}
	})
	return c
}

func up(t *testing.T, c *Cluster) {
	t.Helper()
	if err := c.Up(t.Context(), func(note string) { t.Log(note) }); err != nil {
		t.Fatal(err)
	}
}

func down(t *testing.T, c *Cluster) {
	t.Helper()
	if err := c.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// initOf returns the identity of the running node's first process.
func initOf(t *testing.T, c *Cluster) process {
	t.Helper()
	rec, running, err := c.running()
	if err != nil || !running {
		t.Fatalf("the node does not run (%v)", err)
	}
	return rec.Init
}

// eventually asks until there is no error, for at most a minute.
func eventually(t *testing.T, what string, question func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var last error
	err := poll(ctx, askPatience, func(context.Context) error {
		last = question(ctx)
		return last
	})
	if err != nil {
		t.Fatalf("%s: %v", what, last)
	}
}

func kubectl(t *testing.T, c *Cluster, stdin string, args ...string) (string, error) {
	t.Helper()
	config, err := c.Kubeconfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), c.node.program("kubectl"), append([]string{"--kubeconfig", file, "--cache-dir", t.TempDir()}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// loadShell gives the node an image with a shell and returns its reference.
func loadShell(t *testing.T, c *Cluster) string {
	t.Helper()
	tree := image.NewTree()
	if err := tree.File("/bin/busybox", "/bin/busybox"); err != nil {
		t.Fatalf("%v: install busybox-static (`make deps`)", err)
	}
	for _, applet := range []string{"sh", "nc", "httpd", "sleep"} {
		tree.Link("/bin/"+applet, "busybox")
	}
	img, err := image.Assemble(tree, image.Config{User: image.NonRoot})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := image.Reference("shell", img)
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "shell.tar")
	if err := image.Save(archive, ref, img); err != nil {
		t.Fatal(err)
	}
	if err := c.LoadImage(t.Context(), archive); err != nil {
		t.Fatal(err)
	}
	return ref
}
