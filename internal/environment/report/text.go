package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"kubernaut.ai/kubernaut/internal/environment/progress"
)

// Text draws the Gantt chart, at most width columns wide, and below it the
// critical path and what was gained by running steps side by side.
func (r Report) Text(width int) string {
	var out strings.Builder
	name := 4
	for _, s := range r.Steps {
		name = max(name, utf8.RuneCountInString(s.Name))
	}
	room := max(20, min(width, 160)-name-14)
	steps := slices.Clone(r.Steps)
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(a.StartSeconds, b.StartSeconds) })
	fmt.Fprintf(&out, "  %-*s  %8s  0s%*s\n", name, "step", "took", room-2, seconds(r.WallSeconds))
	for _, s := range steps {
		fmt.Fprintf(&out, "%s %-*s  %8s  %s\n", mark(s), name, s.Name, took(s), r.bar(s, room))
	}
	fmt.Fprintf(&out, "\n█ on the critical path   ▒ beside it   ░ waiting for free cores\n")
	fmt.Fprintf(&out, "critical path %s: %s\n", seconds(r.CriticalSeconds), strings.Join(r.Critical, " → "))
	fmt.Fprintf(&out, "%s for %s of work one by one: %.1f times as fast\n", seconds(r.WallSeconds), seconds(r.SerialSeconds), r.Speedup)
	return out.String()
}

func mark(s Step) string {
	switch s.State {
	case progress.Ready:
		return "✔"
	case progress.Failed:
		return "✘"
	default:
		return "–"
	}
}

func took(s Step) string {
	if s.State == progress.Skipped {
		return "-"
	}
	return seconds(s.Seconds)
}

// bar is the step's time on a line of room columns for the whole run.
func (r Report) bar(s Step, room int) string {
	if s.State == progress.Skipped || r.WallSeconds <= 0 {
		return ""
	}
	column := func(at float64) int { return int(math.Round(at / r.WallSeconds * float64(room))) }
	fill := "▒"
	if s.Critical {
		fill = "█"
	}
	queued := column(s.StartSeconds - s.QueuedSeconds)
	start := min(column(s.StartSeconds), room-1)
	end := max(column(s.StartSeconds+s.Seconds), start+1)
	return strings.Repeat(" ", min(queued, start)) + strings.Repeat("░", max(0, start-queued)) + strings.Repeat(fill, end-start)
}

func seconds(s float64) string {
	return progress.Duration(time.Duration(s * float64(time.Second)))
}
