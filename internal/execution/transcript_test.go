package execution_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/execution"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// TestTranscripts plays the stories of testdata. In a story a line that begins
// with ">" is what happens in the world, at a time; the lines below it are what
// is decided: when, for whom, by which rule, and what it does.
//
// Run with -update to write anew what is decided, and read the difference.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	rules, endings := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(raw), rules)
			for _, found := range ending.FindAllStringSubmatch(got, -1) {
				endings[found[1]] = true
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(raw), got); diff != "" {
				t.Errorf("the story goes otherwise (-want +got):\n%s", diff)
			}
		})
	}
	for _, name := range execution.RuleNames() {
		if !rules[name] {
			t.Errorf("no transcript shows rule %s", name)
		}
	}
	for _, reason := range v1alpha1.FailureReasons {
		if !endings[string(reason)] && reason != v1alpha1.FailureHolderLost { // which is that of a record alone
			t.Errorf("no transcript ends with %s", reason)
		}
	}
	for _, reason := range v1alpha1.SkipReasons {
		if !endings[string(reason)] {
			t.Errorf("no transcript ends with %s", reason)
		}
	}
}

// ending finds how executions end in a transcript.
var ending = regexp.MustCompile(`status: (?:Completed|Failed|Skipped|Cancelled)/(\w+)`)

// play tells a story: comments and events stay, decisions are made anew.
func play(t *testing.T, script string, rules map[string]bool) string {
	t.Helper()
	m := newModel()
	var out strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "#") || line == "":
			out.WriteString(line + "\n")
		case strings.HasPrefix(line, ">"):
			out.WriteString(line + "\n")
			words := strings.Fields(line[1:])
			at, err := time.ParseDuration(words[0])
			if err != nil || len(words) < 2 {
				t.Fatalf("%q is not a time and an event", line)
			}
			m.now = epoch.Add(at)
			if err := m.happen(words[1], words[2:]); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			for _, said := range m.settle(t) {
				rule, _, _ := strings.Cut(said.rule, "/")
				rules[rule] = true
				fmt.Fprintf(&out, "%-5s %-4s %-28s %s\n", short(m.now.Sub(epoch)), said.who, said.rule, said.effect)
			}
		}
	}
	return out.String()
}

// short writes a duration without the zero units at its end.
func short(d time.Duration) string {
	text := strings.TrimSuffix(d.String(), "m0s")
	if text != d.String() {
		text += "m"
	}
	if cut := strings.TrimSuffix(text, "h0m"); cut != text {
		text = cut + "h"
	}
	return text
}

// TestOrderOfRules: of rules that could apply together, the first decides. The
// order is part of the behaviour; a change of it shows here.
func TestOrderOfRules(t *testing.T) {
	want := strings.Fields(`
		run-unknown run-still-active run-stopping run-never-seen release run-deleted audit-overdue audit-incomplete no-longer-waiting done
		engine-absent stranger ending-withdrawn run-finished run-gone part-lost cancel-requested overdue run-hopeless start-refused start-overdue workflow-unknown
		lock-unrecorded not-started run-waits still-running
		gone no-finalizer cancelled-before-start invalid catalog-unavailable target-held blocked backoff cooldown
		others-first paused limit-reached audit-strict target-free`)
	if diff := cmp.Diff(want, execution.RuleNames()); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if dup := slices.Compact(slices.Sorted(slices.Values(want))); len(dup) != len(want) {
		t.Error("two rules have one name")
	}
}
