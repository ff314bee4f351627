package kind

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/dynamic"
	kindcluster "sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/exec"

	"kubernaut.ai/kubernaut/internal/cluster"
	"kubernaut.ai/kubernaut/internal/cluster/forget"
)

// mark is the file that tells a cluster that is whole, and may be starting again
// with its engine, from one that was never finished. It says when the node was
// started that Up has last found ready.
func (c *Cluster) mark() string { return filepath.Join(c.options.Dir, "made") }

// Made tells whether the cluster was whole once.
func (c *Cluster) Made() bool {
	_, err := os.Stat(c.mark())
	return err == nil
}

func (c *Cluster) remember(began time.Time) error {
	return os.WriteFile(c.mark(), []byte(began.UTC().Format(time.RFC3339)), 0o644)
}

// known tells whether the node is one that Up has found ready, and not one that was
// started again since. The kernel rounds, and corrects, when it was started itself.
func (c *Cluster) known(began time.Time) bool {
	said, err := os.ReadFile(c.mark())
	if err != nil {
		return false
	}
	before, err := time.Parse(time.RFC3339, string(said))
	return err == nil && began.Sub(before).Abs() < 5*time.Second
}

const (
	// patience is how long a node may take to become ready.
	patience = 3 * time.Minute
	// settled is after what time the kubelet has told of all its pods.
	settled = time.Minute
)

// untilReady waits for the node of a cluster that is whole: after a restart of
// the engine it comes back by itself, with all its data.
func (c *Cluster) untilReady(ctx context.Context, say func(note string)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	told := ""
	for { // the engine tells nobody when the node's API server answers
		status, err := c.Status(ctx)
		if err != nil {
			return err
		}
		if status.State == cluster.Ready {
			return c.takeBack(ctx, status.Since, say)
		}
		if told != status.Problem {
			told = status.Problem
			say("waiting for the node: " + told)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kind cluster %s is not ready: %s; if its node was stopped, start it: docker start %s-control-plane (or podman start); to begin anew, remove the environment first: %w",
				c.name(), told, c.name(), context.Cause(ctx))
		case <-time.After(time.Second):
		}
	}
}

// takeBack makes sure that nothing is taken for ready because it was before the node
// was started again.
func (c *Cluster) takeBack(ctx context.Context, began time.Time, say func(note string)) error {
	if c.known(began) {
		return nil
	}
	if time.Since(began) < settled {
		say("the node was started again: asking anew what is ready")
		cfg, err := c.connection(ctx)
		if err != nil {
			return err
		}
		cfg.QPS = -1
		client, err := dynamic.NewForConfig(cfg)
		if err != nil {
			return err
		}
		if err := forget.Pods(ctx, client); err != nil {
			return fmt.Errorf("kind cluster %s: %w", c.name(), err)
		}
	}
	return c.remember(began)
}

// started is when the node's first process was started.
func (c *Cluster) started(provider *kindcluster.Provider) (time.Time, error) {
	nodes, err := provider.ListInternalNodes(c.name())
	if err != nil {
		return time.Time{}, fmt.Errorf("asking the container engine for the nodes of kind cluster %s: %w", c.name(), explained(err))
	}
	if len(nodes) == 0 {
		return time.Time{}, fmt.Errorf("kind cluster %s has no node", c.name())
	}
	out, err := exec.Output(nodes[0].Command("cat", "/proc/1/stat", "/proc/stat"))
	if err != nil {
		return time.Time{}, fmt.Errorf("node %s does not run: %w", nodes[0], explained(err))
	}
	began, err := startOfInit(string(out))
	if err != nil {
		return time.Time{}, fmt.Errorf("node %s: %w", nodes[0], err)
	}
	return began, nil
}

// startOfInit reads /proc/1/stat and /proc/stat: the first process was started so
// many hundredths of a second after the machine.
func startOfInit(stats string) (time.Time, error) {
	const startTime = 19 // of the fields after the program's name
	process, machine, _ := strings.Cut(stats, "\n")
	fields := strings.Fields(process[strings.LastIndexByte(process, ')')+1:])
	_, boot, _ := strings.Cut(machine, "btime ")
	boot, _, _ = strings.Cut(boot, "\n")
	if len(fields) <= startTime {
		return time.Time{}, fmt.Errorf("/proc/1/stat says %q", process)
	}
	after, err := strconv.ParseInt(fields[startTime], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("/proc/1/stat says %q: %w", process, err)
	}
	seconds, err := strconv.ParseInt(boot, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("/proc/stat says btime %q: %w", boot, err)
	}
	return time.Unix(seconds, 0).Add(time.Duration(after) * 10 * time.Millisecond), nil
}
