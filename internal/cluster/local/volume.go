package local

import (
	"fmt"
	"os"
	"path/filepath"
)

// Volumes is the node's folder for what pods keep. It goes with the cluster.
const Volumes = "/var/lib/kubernaut"

// Volume makes sure that the folder of that name below Volumes exists and
// belongs to the user (and group) id, so that a pod which is not root can keep
// its data there.
func (c *Cluster) Volume(name string, id int) error {
	dir := c.node.path(Volumes, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making volume %s: %w", name, err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("making volume %s: %w", name, err)
	}
	if err := os.Chown(dir, id, id); err != nil {
		return fmt.Errorf("making volume %s: %w", name, err)
	}
	return nil
}
