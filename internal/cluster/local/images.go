package local

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"

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

// pause is the image whose only process holds a pod's namespaces open. The node
// starts no pod without it, so it is the cluster's own business.
func (c *Cluster) pause(ctx context.Context, say func(string)) (image.Archive, error) {
	store := image.Store{Dir: filepath.Join(c.cache.Dir, "images"), Programs: c.cache}
	recipes := image.Recipes()
	i := slices.IndexFunc(recipes, func(r image.Recipe) bool { return r.Name == image.Pause })
	return store.Archive(ctx, recipes[i], say)
}

func (c *Cluster) loadPause(ctx context.Context, say func(string)) error {
	archive, err := c.pause(ctx, say)
	if err != nil {
		return err
	}
	return c.LoadImage(ctx, archive.Path)
}
