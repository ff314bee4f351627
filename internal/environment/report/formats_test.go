package report

import (
	"encoding/xml"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/environment/progress"
)

func note(seconds int, step, text string) progress.Event {
	e := event(seconds, step, progress.Running)
	e.Note = text
	return e
}

// talkative is run with a failure, and steps that say what they wait for.
func talkative() []progress.Event {
	failed := event(18, "tekton", progress.Failed)
	failed.Error = "webhook <tekton> has no endpoints\nPod tekton-0 waits"
	events := run()[:12]
	return append(events, note(15, "tekton", "Deployment webhook: 0 of 1"), note(16, "tekton", "Deployment controller: 0 of 1"),
		note(17, "tekton", "Deployment webhook: 0 of 1"), failed, event(18, "", progress.Failed))
}

func TestEveryWaitHasItsReason(t *testing.T) {
	r := From(talkative())
	want := []Wait{{"Deployment webhook: 0 of 1", 2}, {"Deployment controller: 0 of 1", 1}}
	if diff := cmp.Diff(want, r.Steps[3].Waits); diff != "" {
		t.Error(diff)
	}
	if r.Steps[3].HeldBy != "cluster" {
		t.Errorf("tekton was held by %q", r.Steps[3].HeldBy)
	}
}

func TestJUnit(t *testing.T) {
	raw, err := From(talkative()).JUnit()
	if err != nil {
		t.Fatal(err)
	}
	var got suite
	if err := xml.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if got.Tests != 4 || got.Failures != 1 || got.Skipped != 0 || len(got.Cases) != 4 {
		t.Errorf("got %+v", got)
	}
	f := got.Cases[3].Failure
	if f == nil || f.Message != "webhook <tekton> has no endpoints" || !strings.Contains(f.Text, "tekton-0") {
		t.Errorf("got %+v", f)
	}
}

func TestPageNeedsNothingElseAndEscapes(t *testing.T) {
	r := From(talkative())
	r.Environment = "local"
	r.Usage = &Usage{PeakBytes: 2 << 30, CPUSeconds: 31, Cores: 2, Samples: []Sample{{0, 1 << 30, 0}, {10, 2 << 30, 20}, {18, 1 << 30, 31}}}
	r.Images = []Image{{Name: "redis", LoadedSeconds: 1.5}}
	var out strings.Builder
	if err := r.HTML(&out); err != nil {
		t.Fatal(err)
	}
	html := out.String()
	for _, want := range []string{"webhook &lt;tekton&gt; has no endpoints", "prefers-color-scheme:dark", "2.0 GiB", "Deployment controller: 0 of 1", `class="memory"`, "<svg"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	outside := regexp.MustCompile(`(?i)(src|href)\s*=|url\(|@import|https?://`)
	for _, found := range outside.FindAllString(strings.ReplaceAll(html, "http://www.w3.org/2000/svg", ""), -1) {
		t.Errorf("the page refers to something outside: %s", found)
	}
}

func TestPageOfNothing(t *testing.T) {
	if err := (Report{}).HTML(&strings.Builder{}); err != nil {
		t.Error(err)
	}
}
