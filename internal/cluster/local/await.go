package local

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"
)

const (
	patience  = 3 * time.Minute // for a node to become ready; it takes about ten seconds
	endings   = 3               // of one component before it was ready, then the start has failed
	lastLines = 12              // of a log, in an error
)

// await waits until the node is ready. When it cannot become ready the error
// says which component is to blame and what it said last.
func (c *Cluster) await(ctx context.Context, rec record, say func(string)) error {
	if _, limited := ctx.Deadline(); !limited { // the caller knows better
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, patience, fmt.Errorf("not ready after %s", patience))
		defer cancel()
	}
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	loaded, narrator := false, narrator{say: say, began: time.Now()}
	for {
		told, err := c.report(rec)
		if err != nil {
			return err
		}
		if err := c.hopeless(rec, told); err != nil {
			return err
		}
		if !loaded && isReady(told, containerd) {
			if err := c.loadPause(ctx, say); err != nil {
				return err
			}
			loaded = true
		}
		if told.Ready && loaded && c.answers(ctx) == nil {
			return nil
		}
		narrator.tell(told.note(), time.Now())
		select {
		case <-ctx.Done():
			return c.unfinished(ctx, told)
		case <-tick.C:
		}
	}
}

// hopeless returns why the node will never be ready, or nothing.
func (c *Cluster) hopeless(rec record, told report) error {
	if told.Failed != "" {
		return fmt.Errorf("the node could not be set up: %s", told.Failed)
	}
	if !rec.Init.alive() {
		return fmt.Errorf("the node's first process has ended%s", c.tail("init"))
	}
	for _, component := range told.Components {
		if !component.Ready && component.Failures >= endings {
			return fmt.Errorf("%s ended %d times before it was ready, last with: %s%s",
				component.Name, component.Failures, component.Problem, c.tail(component.Name))
		}
	}
	return nil
}

// unfinished says what was still missing when waiting ended.
func (c *Cluster) unfinished(ctx context.Context, told report) error {
	err := context.Cause(ctx)
	for _, component := range told.Components {
		if !component.Ready && !component.Since.IsZero() {
			return fmt.Errorf("%w: %s: %s%s", err, component.Name, component.Problem, c.tail(component.Name))
		}
	}
	return fmt.Errorf("%w: the node: %s%s", err, told.Node, c.tail(kubelet))
}

// narrator passes on what is waited for, when it changes and once a second.
type narrator struct {
	say         func(string)
	began, said time.Time
	note        string
}

func (n *narrator) tell(note string, now time.Time) {
	if note == n.note && now.Sub(n.said) < time.Second {
		return
	}
	n.note, n.said = note, now
	n.say(fmt.Sprintf("%s (%.0fs)", note, now.Sub(n.began).Seconds()))
}

// note says what the node waits for.
func (r report) note() string {
	var missing []string
	for _, component := range r.Components {
		if !component.Ready {
			missing = append(missing, component.Name)
		}
	}
	switch {
	case len(r.Components) == 0:
		return "setting up the node"
	case len(missing) > 0:
		return "waiting for " + strings.Join(missing, ", ")
	}
	return "waiting for the node: " + r.Node
}

func isReady(r report, name string) bool {
	for _, component := range r.Components {
		if component.Name == name {
			return component.Ready
		}
	}
	return false
}

// decisive matches the line with which a program says why it ends; what follows
// it is often long and says less.
var decisive = regexp.MustCompile(`^(panic: |fatal error: |Error: |F\d{4} )|"level":"(fatal|panic)"|level=fatal`)

// essence shortens the end of a log to at most count lines: the last decisive
// ones and what follows them up to a stack, or else the last ones.
func essence(lines []string, count int) []string {
	from := len(lines) - 1
	for from >= 0 && !decisive.MatchString(lines[from]) {
		from--
	}
	if from < 0 {
		return lines[max(0, len(lines)-count):]
	}
	for from > 0 && decisive.MatchString(lines[from-1]) {
		from--
	}
	to := from
	for to < min(len(lines), from+count) && !strings.HasPrefix(lines[to], "goroutine ") {
		to++
	}
	return lines[from:to]
}

// tail returns the end of a component's log, ready to be put behind an error.
func (c *Cluster) tail(name string) string {
	path := c.node.log(name)
	lines, err := lastOf(path)
	if err != nil || len(lines) == 0 {
		return fmt.Sprintf("; it wrote nothing to %s", path)
	}
	return fmt.Sprintf("; the end of %s:\n  %s", path, strings.Join(essence(lines, lastLines), "\n  "))
}

// lastOf reads the last lines of a file that may be long.
func lastOf(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	const enough = 16 << 10
	if _, err := file.Seek(-enough, io.SeekEnd); err != nil {
		if _, err := file.Seek(0, io.SeekStart); err != nil { // it is shorter
			return nil, err
		}
	}
	raw, err := io.ReadAll(file)
	raw = bytes.TrimSpace(raw)
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	return strings.Split(string(raw), "\n"), nil
}
