package bringup

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/environment/report"
)

// The limits of a warm bring-up on two cores.
const (
	wallLimit  = 60.0 // seconds
	ratioLimit = 1.15 // wall time beside the critical path
	againLimit = 5.0  // seconds of an up that finds everything there
)

// measured is one bring-up, as it is kept.
type measured struct {
	At       time.Time `json:"at"`
	Wall     float64   `json:"wallSeconds"`
	Critical float64   `json:"criticalSeconds"`
	Serial   float64   `json:"serialSeconds"`
	Speedup  float64   `json:"speedup"`
	Again    float64   `json:"againSeconds"` // a second up, which finds everything there
	Peak     int64     `json:"peakBytes"`
}

// BenchmarkEnvironmentUp measures a warm bring-up, from nothing running to
// everything ready, and a second one after it. The numbers are kept beside
// those of earlier times.
func BenchmarkEnvironmentUp(b *testing.B) {
	e := needed(b, "bench")
	e.run("up", "--progress", "plain") // warm: programs built, images in the node's store
	var all []measured
	for b.Loop() {
		e.down()
		e.run("up", "--progress", "plain")
		m := measure(e.report())
		e.run("up", "--progress", "plain")
		m.Again = e.report().WallSeconds
		all = append(all, m)
	}
	slices.SortFunc(all, func(x, y measured) int { return int(1e6 * (x.Wall - y.Wall)) })
	m := all[len(all)/2]
	b.ReportMetric(m.Wall, "wall-s(limit=60)")
	b.ReportMetric(m.Wall/m.Critical, "wall/critical(limit=1.15)")
	b.ReportMetric(m.Speedup, "speedup")
	b.ReportMetric(m.Again, "again-s(limit=5)")
	b.ReportMetric(float64(m.Peak)/(1<<20), "peak-MiB")
	if err := keep(m); err != nil {
		b.Fatal(err)
	}
}

func measure(r report.Report) measured {
	m := measured{At: r.Began, Wall: r.WallSeconds, Critical: r.CriticalSeconds, Serial: r.SerialSeconds, Speedup: r.Speedup}
	if r.Usage != nil {
		m.Peak = r.Usage.PeakBytes
	}
	return m
}

// keep adds the measure to those of earlier times, below the cache, and prints
// the last of them beside the limits.
func keep(m measured) error {
	dir, err := build.Dir()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "bench", "environment.json")
	var all []measured
	if raw, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(raw, &all); err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
	}
	all = append(all, m)
	raw, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	fmt.Printf("\nenvironment up, warm     wall (limit %gs)  critical  ratio (limit %g)  speed-up  again (limit %gs)  peak\n", wallLimit, ratioLimit, againLimit)
	for _, m := range all[max(0, len(all)-5):] {
		fmt.Printf("%-24s %8.1fs         %6.1fs   %9.2f         %6.1f   %5.1fs            %d MiB\n",
			m.At.Local().Format("2006-01-02 15:04"), m.Wall, m.Critical, m.Wall/m.Critical, m.Speedup, m.Again, m.Peak>>20)
	}
	fmt.Printf("kept in %s\n", path)
	return os.WriteFile(path, append(raw, '\n'), 0o644)
}
