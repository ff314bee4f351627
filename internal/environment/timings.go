package environment

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/environment/progress"
	"kubernaut.ai/kubernaut/internal/environment/report"
)

// timings is how many seconds each step took the last time it became ready, on
// this machine: what the next run expects.
type timings struct {
	Fresh map[string]float64 `json:"fresh"` // the cluster was started too
	Again map[string]float64 `json:"again"` // it ran already
}

func (w *world) timingsFile() string { return filepath.Join(w.cache.Dir, "timings.json") }

// readTimings returns what is known. Without it steps expect what their
// components say.
func (w *world) readTimings() timings {
	known := timings{Fresh: map[string]float64{}, Again: map[string]float64{}}
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

func (t timings) of(running bool) map[string]float64 {
	if running {
		return t.Again
	}
	return t.Fresh
}

// expect replaces what components expect by what was measured. Programs keep
// their own figure: how long one was looked up says nothing about how long it is
// compiled, nor the other way round.
func (t timings) expect(components []component, running bool) {
	measured := t.of(running)
	for i, c := range components {
		if seconds, ok := measured[c.Name]; ok && !strings.HasPrefix(c.Name, buildPrefix) {
			components[i].Expected = time.Duration(seconds * float64(time.Second))
		}
	}
}

// learn keeps what a run measured.
func (w *world) learn(r report.Report, running bool) error {
	known := w.readTimings()
	for _, s := range r.Steps {
		if s.State == progress.Ready {
			known.of(running)[s.Name] = s.Seconds
		}
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
