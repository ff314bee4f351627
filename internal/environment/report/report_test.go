package report

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/environment/progress"
)

func event(seconds int, step string, state progress.State, after ...string) progress.Event {
	at := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
	return progress.Event{At: at, Step: step, State: state, After: after}
}

// run is 20 s long: cluster (10 s) and images (4 s), then tekton (10 s) and
// redis, which waits 3 s for cores and takes 2 s.
func run() []progress.Event {
	return []progress.Event{
		event(0, "cluster", progress.Planned), event(0, "images", progress.Planned),
		event(0, "redis", progress.Planned, "cluster"), event(0, "tekton", progress.Planned, "cluster", "images"),
		event(0, "cluster", progress.Running), event(0, "images", progress.Running),
		event(4, "images", progress.Ready), event(10, "cluster", progress.Ready),
		event(10, "tekton", progress.Running), event(10, "redis", progress.Queued),
		event(13, "redis", progress.Running), event(15, "redis", progress.Ready),
		event(20, "tekton", progress.Ready), event(20, "", progress.Ready),
	}
}

func TestFigures(t *testing.T) {
	r := From(run())
	if !r.Ready || r.WallSeconds != 20 || r.SerialSeconds != 26 || r.CriticalSeconds != 20 || r.Speedup != 1.3 {
		t.Errorf("got %+v", r)
	}
	if diff := cmp.Diff([]string{"cluster", "tekton"}, r.Critical); diff != "" {
		t.Error(diff)
	}
	want := Step{
		Name: "redis", State: progress.Ready, After: []string{"cluster"}, StartSeconds: 13, QueuedSeconds: 3, Seconds: 2, Started: true,
		HeldBy: "cluster", QueuedBehind: "free cores, busy with ",
	}
	if diff := cmp.Diff(want, r.Steps[2]); diff != "" {
		t.Error(diff)
	}
}

func TestChart(t *testing.T) {
	want := `  step         took  0s             20.0s
✔ cluster     10.0s  ██████████
✔ images       4.0s  ▒▒▒▒
✔ tekton      10.0s            ██████████
✔ redis        2.0s            ░░░▒▒

█ on the critical path   ▒ beside it   ░ waiting for free cores
critical path 20.0s: cluster → tekton
20.0s for 26.0s of work one by one: 1.3 times as fast
`
	got := From(run()).Text(30)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFailedRun(t *testing.T) {
	events := run()[:8]
	failed := event(12, "tekton", progress.Failed)
	failed.Error = "webhook has no endpoints"
	end := event(12, "", progress.Failed)
	end.Error = "tekton: webhook has no endpoints"
	events = append(events, event(10, "tekton", progress.Running), failed, event(12, "redis", progress.Skipped), end)
	r := From(events)
	if r.Ready || r.Error != end.Error || r.Steps[3].Error != failed.Error {
		t.Errorf("got %+v", r)
	}
	chart := r.Text(60)
	if !strings.Contains(chart, "✘ tekton") || !strings.Contains(chart, "– redis           -") {
		t.Errorf("got\n%s", chart)
	}
}

func TestNothingHappened(t *testing.T) {
	r := From(nil)
	if r.Ready || len(r.Critical) != 0 {
		t.Errorf("got %+v", r)
	}
	if text := r.Text(80); !strings.Contains(text, "critical path 0.0s") {
		t.Errorf("got %s", text)
	}
}

func TestJournalAndRunGiveTheSameReport(t *testing.T) {
	var out strings.Builder
	sink := progress.JSON(&out)
	for _, e := range run() {
		sink.Show(e)
	}
	read, err := progress.Read(strings.NewReader(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(From(run()), From(read)); diff != "" {
		t.Error(diff)
	}
	raw, err := json.Marshal(From(read))
	if err != nil || !strings.Contains(string(raw), `"criticalSeconds":20`) {
		t.Errorf("%s, %v", raw, err)
	}
}
