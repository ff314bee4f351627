package main

import (
	"strings"
	"testing"
	"time"
)

const pkg = `"Package":"kubernaut.ai/kubernaut/internal/x"`

func tallyOf(t *testing.T, lines ...string) (*tally, string) {
	t.Helper()
	var out strings.Builder
	y := newTally(&out)
	if err := y.read(strings.NewReader(strings.Join(lines, "\n"))); err != nil {
		t.Fatal(err)
	}
	y.summary(time.Unix(0, 0), "abc")
	return y, out.String()
}

func TestASkippedTestIsCountedWithItsReason(t *testing.T) {
	y, out := tallyOf(t,
		`{"Action":"run",`+pkg+`,"Test":"TestA"}`,
		`{"Action":"pass",`+pkg+`,"Test":"TestA"}`,
		`{"Action":"run",`+pkg+`,"Test":"TestB"}`,
		`{"Action":"output",`+pkg+`,"Test":"TestB","Output":"    b_test.go:3: needs PostgreSQL\n"}`,
		`{"Action":"output",`+pkg+`,"Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}`,
		`{"Action":"skip",`+pkg+`,"Test":"TestB"}`,
		`{"Action":"pass",`+pkg+`,"Elapsed":1.5}`)
	if !y.good() {
		t.Error("a skipped test made the run bad")
	}
	for _, want := range []string{"skipped 1 (internal/x TestB): needs PostgreSQL", "\n1 passed, 0 failed, 1 skipped\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
}

func TestParentsAreCountedByTheirSubtests(t *testing.T) {
	y, out := tallyOf(t,
		`{"Action":"run",`+pkg+`,"Test":"TestA"}`,
		`{"Action":"run",`+pkg+`,"Test":"TestA/one"}`,
		`{"Action":"output",`+pkg+`,"Test":"TestA/one","Output":"the cause\n"}`,
		`{"Action":"fail",`+pkg+`,"Test":"TestA/one"}`,
		`{"Action":"fail",`+pkg+`,"Test":"TestA"}`,
		`{"Action":"fail",`+pkg+`}`)
	if y.good() {
		t.Error("a failed test left the run good")
	}
	for _, want := range []string{"the cause\n", "\n0 passed, 1 failed, 0 skipped\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
}

func TestASlowTestIsToldAtOnce(t *testing.T) {
	_, out := tallyOf(t,
		`{"Action":"run",`+pkg+`,"Test":"TestA"}`,
		`{"Action":"pass",`+pkg+`,"Test":"TestA","Elapsed":61.5}`,
		`{"Action":"run",`+pkg+`,"Test":"TestB"}`,
		`{"Action":"pass",`+pkg+`,"Test":"TestB","Elapsed":0.5}`,
		`{"Action":"pass",`+pkg+`,"Elapsed":62}`)
	if !strings.Contains(out, "TestA pass after 61.5s") || strings.Contains(out, "TestB pass") {
		t.Errorf("want a line for TestA and none for TestB:\n%s", out)
	}
}

func TestWhatIsNotGood(t *testing.T) {
	for name, lines := range map[string][]string{
		"nothing ran":             {},
		"a package did not build": {`{"Action":"fail",` + pkg + `,"FailedBuild":"x"}`},
		"ended outside any test":  {`{"Action":"run",` + pkg + `,"Test":"TestA"}`, `{"Action":"pass",` + pkg + `,"Test":"TestA"}`, `{"Action":"fail",` + pkg + `}`},
	} {
		if y, _ := tallyOf(t, lines...); y.good() {
			t.Errorf("%s: the run counts as good", name)
		}
	}
}
