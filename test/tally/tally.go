package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

const module = "kubernaut.ai/kubernaut/"

// slow is the seconds after which a test is worth a line of its own, so that
// who waits sees what goes on.
const slow = 5

// tally counts leaf results: a test with subtests is counted by its subtests.
type tally struct {
	out      io.Writer
	packages map[string]*result
	output   map[key][]string // lines of tests that have not passed yet
	parents  map[key]bool
	skipped  map[string][]string // reason → tests
}

type key struct{ pkg, test string }

type result struct {
	passed, failed, skipped int
	seconds                 float64
	broken                  bool // did not build, or ended outside any test
}

func newTally(out io.Writer) *tally {
	return &tally{out: out, packages: map[string]*result{}, output: map[key][]string{}, parents: map[key]bool{}, skipped: map[string][]string{}}
}

func (t *tally) add(e event) {
	if e.Action == "build-output" {
		fmt.Fprint(t.out, e.Output)
		return
	}
	if e.Package == "" {
		return
	}
	k := key{strings.TrimPrefix(e.Package, module), e.Test}
	switch e.Action {
	case "run":
		t.noteParent(k)
	case "output":
		t.output[k] = append(t.output[k], e.Output)
	case "pass", "fail", "skip":
		t.end(k, e)
	}
}

func (t *tally) noteParent(k key) {
	if i := strings.LastIndex(k.test, "/"); i > 0 {
		t.parents[key{k.pkg, k.test[:i]}] = true
	}
}

func (t *tally) end(k key, e event) {
	if k.test == "" {
		t.endPackage(k, e)
		return
	}
	r := t.result(k.pkg)
	leaf := !t.parents[k]
	if e.Elapsed >= slow && !strings.Contains(k.test, "/") {
		fmt.Fprintf(t.out, "     %-44s %s %s after %.1fs\n", k.pkg, k.test, e.Action, e.Elapsed)
	}
	switch {
	case e.Action == "fail":
		t.print(k)
		if leaf {
			r.failed++
		}
	case e.Action == "skip":
		r.skipped++
		reason := t.reason(k)
		t.skipped[reason] = append(t.skipped[reason], k.pkg+" "+k.test)
	case leaf:
		r.passed++
	}
	delete(t.output, k)
}

func (t *tally) endPackage(k key, e event) {
	if _, ran := t.packages[k.pkg]; e.Action == "skip" && !ran {
		return // no test files
	}
	r := t.result(k.pkg)
	r.seconds = e.Elapsed
	if e.Action == "fail" {
		r.broken = e.FailedBuild != "" || r.failed == 0
		t.print(k)
	}
	fmt.Fprintf(t.out, "%-4s %-44s %4d passed %3d failed %3d skipped %7.1fs\n", verdict(r), k.pkg, r.passed, r.failed, r.skipped, r.seconds)
}

func (t *tally) result(pkg string) *result {
	if t.packages[pkg] == nil {
		t.packages[pkg] = &result{}
	}
	return t.packages[pkg]
}

func (t *tally) print(k key) {
	for _, line := range t.output[k] {
		fmt.Fprint(t.out, line)
	}
}

// reason is the last line a skipped test logged, without its file and line.
func (t *tally) reason(k key) string {
	for _, line := range slices.Backward(t.output[k]) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "===") {
			continue
		}
		if _, after, ok := strings.Cut(line, ".go:"); ok {
			_, line, _ = strings.Cut(after, ": ")
		}
		return line
	}
	return "no reason given"
}

// some is the first of the names, and how many more there are.
func some(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	return fmt.Sprintf("%s and %d more", names[0], len(names)-1)
}

func verdict(r *result) string {
	if r.failed > 0 || r.broken {
		return "FAIL"
	}
	return "ok"
}

func (t *tally) totals() (sum result) {
	for _, r := range t.packages {
		sum.passed += r.passed
		sum.failed += r.failed
		sum.skipped += r.skipped
		if r.broken {
			sum.failed++
		}
	}
	return sum
}

func (t *tally) good() bool {
	sum := t.totals()
	return sum.failed == 0 && sum.passed > 0
}

func (t *tally) summary(now time.Time, commit string) {
	fmt.Fprintf(t.out, "\n%s, commit %s\n\n", now.UTC().Format(time.RFC3339), commit)
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PACKAGE\tRESULT\tPASSED\tFAILED\tSKIPPED\tSECONDS")
	for _, name := range slices.Sorted(maps.Keys(t.packages)) {
		r := t.packages[name]
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%.1f\n", name, verdict(r), r.passed, r.failed, r.skipped, r.seconds)
	}
	w.Flush()
	for _, reason := range slices.Sorted(maps.Keys(t.skipped)) {
		tests := t.skipped[reason]
		fmt.Fprintf(t.out, "skipped %d (%s): %s\n", len(tests), some(tests), reason)
	}
	sum := t.totals()
	fmt.Fprintf(t.out, "\n%d passed, %d failed, %d skipped\n", sum.passed, sum.failed, sum.skipped)
}
