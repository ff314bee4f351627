package report

import (
	"cmp"
	_ "embed" // the page
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/environment/graph"
	"kubernaut.ai/kubernaut/internal/environment/progress"
)

//go:embed page.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"seconds": seconds, "bytes": bytesText, "percent": func(x float64) string { return fmt.Sprintf("%.3f%%", 100*x) },
}).Parse(page))

// view is the report with what the page draws.
type view struct {
	Report
	Rows   []row // by start
	Ticks  []tick
	Graph  template.HTML
	Memory template.HTML
	Failed []Step
	Efficiency
}

// Efficiency compares the run with the best one possible.
type Efficiency struct {
	OverCritical float64 // wall time beside the critical path, 1 at best
}

// row is a step on the chart; places are parts of the whole run.
type row struct {
	Step
	Mark                string
	Left, Width, Queued float64
}

type tick struct {
	At   float64
	Text string
}

// HTML writes the report as one page that needs nothing else, for light and
// dark.
func (r Report) HTML(w io.Writer) error {
	v := view{Report: r, Ticks: r.ticks(), Graph: template.HTML(r.Graph()), Memory: template.HTML(r.Usage.chart(r.WallSeconds))} //nolint:gosec // both are drawn by us and escape what they are given
	if r.CriticalSeconds > 0 {
		v.OverCritical = r.WallSeconds / r.CriticalSeconds
	}
	for _, s := range r.Steps {
		v.Rows = append(v.Rows, r.row(s))
		if s.State == progress.Failed {
			v.Failed = append(v.Failed, s)
		}
	}
	slices.SortStableFunc(v.Rows, func(a, b row) int { return cmp.Compare(a.begin(), b.begin()) })
	if err := pageTemplate.Execute(w, v); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func (r row) begin() float64 {
	if !r.Started {
		return 1e9
	}
	return r.StartSeconds - r.QueuedSeconds
}

func (r Report) row(s Step) row {
	out := row{Step: s, Mark: mark(s)}
	if r.WallSeconds > 0 && s.Started {
		out.Left = s.StartSeconds / r.WallSeconds
		out.Queued = s.QueuedSeconds / r.WallSeconds
		out.Width = max(s.Seconds/r.WallSeconds, 0.002)
	}
	return out
}

// QueuedLeft is where the wait for cores begins.
func (r row) QueuedLeft() float64 { return r.Left - r.Queued }

// Tip is what the page shows when the pointer rests on a bar.
func (r row) Tip() string {
	lines := []string{fmt.Sprintf("%s: %s, from %s", r.Name, took(r.Step), seconds(r.StartSeconds))}
	if r.HeldBy != "" {
		lines = append(lines, "waited for "+r.HeldBy)
	}
	if r.QueuedSeconds > 0 {
		lines = append(lines, fmt.Sprintf("%s for %s", seconds(r.QueuedSeconds), r.QueuedBehind))
	}
	for _, w := range r.Waits {
		lines = append(lines, fmt.Sprintf("%s %s", seconds(w.Seconds), w.For))
	}
	return strings.Join(lines, "\n")
}

// ticks are up to ten round times.
func (r Report) ticks() []tick {
	if r.WallSeconds <= 0 {
		return nil
	}
	every := 3600.0
	for _, s := range []float64{0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200} {
		if r.WallSeconds/s <= 10 {
			every = s
			break
		}
	}
	var all []tick
	for at := 0.0; at <= r.WallSeconds; at += every {
		all = append(all, tick{at / r.WallSeconds, fmt.Sprintf("%gs", at)})
	}
	return all
}

// Graph draws what waited for what, with the measured times.
func (r Report) Graph() string {
	nodes := make([]graph.Node, len(r.Steps))
	for i, s := range r.Steps {
		nodes[i] = graph.Node{Name: s.Name, Label: took(s), After: s.After, Title: r.row(s).Tip()}
		switch {
		case s.State == progress.Failed:
			nodes[i].Class = "failed"
		case s.Critical:
			nodes[i].Class = "critical"
		}
	}
	return graph.SVG(nodes)
}

func bytesText(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// chart draws memory as an area and the busy cores as a line, over the run.
func (u *Usage) chart(wall float64) string {
	if u == nil || len(u.Samples) < 2 || u.PeakBytes == 0 || wall <= 0 {
		return ""
	}
	const width, height = 1000.0, 120.0
	cores := float64(max(1, u.Cores))
	area, busy := fmt.Sprintf("M0 %g", height), ""
	last := u.Samples[0]
	for i, s := range u.Samples {
		x := min(width, s.At/wall*width)
		area += fmt.Sprintf("L%.1f %.1f", x, height-float64(s.Bytes)/float64(u.PeakBytes)*(height-8))
		if i > 0 && s.At > last.At {
			used := min(1, (s.CPUSeconds-last.CPUSeconds)/(s.At-last.At)/cores)
			busy += fmt.Sprintf("%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[busy == ""], x, height-used*(height-8))
		}
		last = s
	}
	area += fmt.Sprintf("L%.1f %gZ", min(width, last.At/wall*width), height)
	return fmt.Sprintf(`<svg class="usage" viewBox="0 0 %g %g" preserveAspectRatio="none" role="img" aria-label="memory and processor"><path class="memory" d="%s"/><path class="busy" d="%s"/></svg>`,
		width, height, area, busy)
}
