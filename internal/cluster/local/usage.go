package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/cluster"
)

// Usage reads from the node's control groups what it takes at the moment.
func (c *Cluster) Usage() (cluster.Usage, error) {
	groups, err := detect()
	if err != nil {
		return cluster.Usage{}, err
	}
	folders, err := groups.Folders(c.group())
	if err != nil || len(folders) == 0 {
		return cluster.Usage{}, fmt.Errorf("cluster %s has no control group: %w", c.node.Name, os.ErrNotExist)
	}
	return usageOf(folders)
}

// usageOf adds up what the folders of one group say, of whichever version.
func usageOf(folders []string) (cluster.Usage, error) {
	var u cluster.Usage
	known := false
	for _, dir := range folders {
		for _, read := range []func(string, *cluster.Usage) error{memoryOf, processorOf} {
			err := read(dir, &u)
			if os.IsNotExist(err) {
				continue // another controller's folder
			}
			if err != nil {
				return cluster.Usage{}, err
			}
			known = true
		}
	}
	if !known {
		return cluster.Usage{}, fmt.Errorf("control group %s counts neither memory nor processor time", strings.Join(folders, ", "))
	}
	return u, nil
}

// memoryOf reads memory that is not the cache of files, which the kernel takes
// back when somebody needs it.
func memoryOf(dir string, u *cluster.Usage) error {
	stat, err := keyed(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return err
	}
	if rss, ok := stat["total_rss"]; ok { // version 1
		u.Bytes = rss + stat["total_shmem"]
		return nil
	}
	u.Bytes = stat["anon"] + stat["shmem"]
	return nil
}

func processorOf(dir string, u *cluster.Usage) error {
	raw, err := os.ReadFile(filepath.Join(dir, "cpuacct.usage")) // version 1
	if err == nil {
		ns, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
		u.CPU = time.Duration(ns)
		return err
	}
	stat, err := keyed(filepath.Join(dir, "cpu.stat"))
	if err != nil {
		return err
	}
	usec, ok := stat["usage_usec"]
	if !ok {
		return os.ErrNotExist // version 1 has such a file too, about quotas
	}
	u.CPU = time.Duration(usec) * time.Microsecond
	return nil
}

// keyed reads a file of lines "name number".
func keyed(path string) (map[string]int64, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	values := map[string]int64{}
	for line := range strings.Lines(string(raw)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			values[name] = n
		}
	}
	return values, nil
}
