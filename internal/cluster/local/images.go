package local

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/image"
)

// LoadImage gives the archive's images to containerd, for the kubelet to find.
func (c *Cluster) LoadImage(ctx context.Context, archive string) error {
	rec, running, err := c.running()
	if err != nil {
		return err
	}
	if !running {
		return fmt.Errorf("loading %s: %w", archive, c.absent())
	}
	// The node's root is reached through its first process; the archive is read
	// out here and sent through containerd's socket.
	socket := filepath.Join("/proc", fmt.Sprint(rec.Init.PID), "root", containerdSocket)
	ctr := c.node.program("ctr")
	cmd := exec.CommandContext(ctx, ctr, "--address", socket, "--namespace", "k8s.io", "images", "import", archive)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("loading %s into cluster %s: ctr: %w: %s", archive, c.node.Name, err, bytes.TrimSpace(out))
	}
	return nil
}

func (c *Cluster) pauseArchive() string { return c.node.path("pause.tar") }

// pauseImage makes the image whose only process holds a pod's namespaces open,
// and returns its reference.
func (c *Cluster) pauseImage(ctx context.Context, say func(string)) (string, error) {
	program, err := c.cache.Build(ctx, build.Pause, say)
	if err != nil {
		return "", err
	}
	tree := image.NewTree()
	if err := tree.File("/pause", program); err != nil {
		return "", err
	}
	img, err := image.Assemble(tree, image.Config{Entrypoint: []string{"/pause"}, User: image.NonRoot})
	if err != nil {
		return "", err
	}
	ref, err := image.Reference("pause", img)
	if err != nil {
		return "", err
	}
	return ref, image.Save(c.pauseArchive(), ref, img)
}

func (c *Cluster) loadPause(ctx context.Context) error { return c.LoadImage(ctx, c.pauseArchive()) }
