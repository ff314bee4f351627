package environment

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/environment/progress"
	"kubernaut.ai/kubernaut/internal/environment/report"
)

// timings is how many seconds each step took the last times it became ready, on
// this machine: what the next run expects, and after what it gives up.
type timings struct {
	Fresh map[string][]float64 `json:"freshSeconds"` // the cluster was started too
	Again map[string][]float64 `json:"againSeconds"` // it ran already
}

// remembered is how many times of a step are kept.
const remembered = 9

// timingsFile is apart for each kind of cluster: the same step takes another time.
func (w *world) timingsFile() string {
	if w.options.Cluster == Local || w.options.Cluster == "" {
		return filepath.Join(w.cache.Dir, "timings.json")
	}
	return filepath.Join(w.cache.Dir, "timings-"+w.options.Cluster+".json")
}

// readTimings returns what is known. Without it steps expect what their
// components say.
func (w *world) readTimings() timings {
	known := timings{Fresh: map[string][]float64{}, Again: map[string][]float64{}}
	raw, err := os.ReadFile(w.timingsFile())
	if err != nil {
		return known
	}
	var read timings
	if json.Unmarshal(raw, &read) != nil || read.Fresh == nil || read.Again == nil {
		return known
	}
	return read
}

func (t timings) of(running bool) map[string][]float64 {
	if running {
		return t.Again
	}
	return t.Fresh
}

// A step counts as stuck when it takes several times as long as ever before,
// never before shortest and always after longest. What was never measured gets
// unmeasured; what compiles, compiling; what may have to pull an image of hundreds
// of megabytes first, pulling at least. All of it can be overridden.
const (
	shortest   = 3 * time.Minute
	longest    = 45 * time.Minute
	unmeasured = 5 * time.Minute
	compiling  = 45 * time.Minute
	pulling    = 15 * time.Minute
	times      = 5
)

// expect replaces what components expect by what was measured, and sets their
// limits, of which components say the least. Programs keep their own figure: how long one was looked up says
// nothing about how long it is compiled, nor the other way round.
func (t timings) expect(components []component, running bool) {
	measured := t.of(running)
	for i := range components {
		c := &components[i]
		took := slices.Sorted(slices.Values(measured[c.Name]))
		switch {
		case strings.HasPrefix(c.Name, buildPrefix):
			c.Limit = compiling
		case len(took) == 0:
			c.Limit = max(c.Limit, unmeasured)
		default:
			c.Expected = seconds(took[len(took)/2])
			c.Limit = min(longest, max(c.Limit, shortest, times*seconds(took[len(took)-1]).Round(time.Second)))
		}
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// learn keeps what a run measured.
func (w *world) learn(r report.Report, running bool) error {
	known := w.readTimings()
	for _, s := range r.Steps {
		if s.State != progress.Ready {
			continue
		}
		all := append(known.of(running)[s.Name], s.Seconds)
		known.of(running)[s.Name] = all[max(0, len(all)-remembered):]
	}
	raw, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return err
	}
	aside := fmt.Sprintf("%s.%d", w.timingsFile(), os.Getpid())
	if err := errors.Join(os.WriteFile(aside, raw, 0o644), os.Rename(aside, w.timingsFile())); err != nil {
		return fmt.Errorf("keeping the steps' times: %w", err)
	}
	return nil
}

// limit sets the limits that the caller names; "all" means every step.
func limit(components []component, asked map[string]time.Duration) error {
	var unknown []string
	for name, d := range asked {
		found := false
		for i := range components {
			_, named := asked[components[i].Name]
			if components[i].Name == name || name == allSteps && !named {
				components[i].Limit, found = d, true
			}
		}
		if !found {
			unknown = append(unknown, fmt.Sprintf("%q", name))
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("--timeout names no step: %s; the steps are in `kubernaut env plan`", strings.Join(unknown, ", "))
	}
	return nil
}

// allSteps stands for every step that is not named itself.
const allSteps = "all"
