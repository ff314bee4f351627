package simulation

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// enough is how many lives a controller without one of its guards may get away
// with.
const enough = 10_000

// TestWeaknessesAreFound takes guards away that stand between the controller and
// the server.
func TestWeaknessesAreFound(t *testing.T) {
	for _, c := range []struct {
		name string
		weak weakness
	}{
		{"the version that a target is taken and released on", weakness{forgetful: true}},
		{"the read past the caches", weakness{cachedReads: true}},
		{"the finalizer of a run", weakness{noRunFinalizer: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lives := lives(c.weak)
			for seed := range enough {
				if l := lives.Example(seed); l.broken != "" {
					promise, _, _ := strings.Cut(l.broken, ": ")
					t.Logf("life %d breaks: %s", seed+1, promise)
					return
				}
			}
			t.Errorf("%d lives without this guard broke no promise", enough)
		})
	}
}

// mutant is a change of the source that takes a guard away.
type mutant struct {
	name    string
	changes []edited
}

// edited replaces a text of a file, which is there once.
type edited struct{ file, old, new string }

// mutants are switched on one at a time, by name, in one program: on(name) in a
// new text is true when it is this mutant's turn.
var mutants = []mutant{
	{"the execution's UID in the name of its run", []edited{
		{"internal/engine/engine.go", `sum := sha256.Sum256([]byte(ex.UID))`, `seed := string(ex.UID)
	if on(name) {
		seed = ex.Namespace + "/" + ex.Name
	}
	sum := sha256.Sum256([]byte(seed))`},
	}},
	{"whose run it is that has the name", []edited{
		{"internal/engine/engine.go", `return obj.GetLabels()[v1alpha1.LabelExecutionUID] == string(ref.Execution)`,
			`return on(name) || obj.GetLabels()[v1alpha1.LabelExecutionUID] == string(ref.Execution)`},
	}},
	{"the occupied name", []edited{
		{"internal/execution/holding.go", `if d.Ending == nil || r.State`, `if on(name) || d.Ending == nil || r.State`},
		{"internal/execution/ended.go", `if !s.Holds() || s.Run.State != RunAbsent`, `if on(name) || !s.Holds() || s.Run.State != RunAbsent`},
	}},
	{"the stop of the run before the release", []edited{
		{"internal/execution/ended.go", `if !s.Holds() || s.Run.stopped() {`, `if on(name) || !s.Holds() || s.Run.stopped() {`},
	}},
	{"the outcome in status before the release", []edited{
		{"internal/execution/holding.go", `	if r.State != RunFinished {
		return Decision{}, false
	}
`, `	if r.State != RunFinished {
		return Decision{}, false
	}
	if on(name) {
		return Decision{Do: Release}, true
	}
`},
	}},
	{"the release and the audit trail before the finalizer goes", []edited{
		{"internal/execution/ended.go", `	r := s.Run
	if r.State != RunActive`, `	if on(name) && hasFinalizer(s.Execution) {
		return Decision{Do: RemoveFinalizer}, true
	}
	r := s.Run
	if r.State != RunActive`},
	}},
	{"the status before the event of a skip", []edited{
		{"internal/controller/record.go", `case execution.Decided(e) && !stands:`, `case execution.Decided(e) && !stands && !on(name):`},
	}},
	{"a look past the cache before a run is started", []edited{
		{"internal/controller/controller.go", `if err := r.isCurrent(ctx, ex); err != nil {`, `if err := r.isCurrent(ctx, ex); err != nil && !on(name) {`},
	}},
	{"the announcement of an end", []edited{
		{"internal/execution/waiting.go", `if d.Ending == nil || s.Target.Key == ""`, `if on(name) || d.Ending == nil || s.Target.Key == ""`},
	}},
	{"taking an announcement back before the start", []edited{
		{"internal/execution/holding.go", `return Decision{}, s.announced() && s.Run`, `return Decision{}, !on(name) && s.announced() && s.Run`},
	}},
	{"what was started in the event that tells it", []edited{
		{"internal/execution/trail.go", `if Untold(ex) && !last {`, `if Untold(ex) && !last && !on(name) {`},
	}},
}

// TestMutantsAreFound takes guards out of the controller's own source: the test
// program is built once more with all of them in an overlay, and has to fail with
// each.
func TestMutantsAreFound(t *testing.T) {
	if !full() {
		t.Skip("builds the program anew: run make test-full")
	}
	program := build(t)
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			for _, search := range []string{"TestSafeWhereTwoMeet", "TestSafeUnderAnyInterleaving"} { // what is found at all is mostly found soon by the first
				if m.foundBy(t, program, search) {
					return
				}
			}
			t.Errorf("%d lives of each kind without this guard broke no promise", enough)
		})
	}
}

// foundBy tells whether a search finds what the mutant breaks.
func (m mutant) foundBy(t *testing.T, program, search string) bool {
	t.Helper()
	cmd := exec.Command(program, "-test.run", "^"+search+"$", "-rapid.checks", strconv.Itoa(enough), "-rapid.shrinktime", "1s")
	cmd.Env = append(os.Environ(), "MUTANT="+m.name)
	out, err := cmd.CombinedOutput()
	found := regexp.MustCompile(`failed after (\d+) tests: ([^:\n]*)`).FindSubmatch(out)
	switch {
	case err == nil:
		return false
	case found == nil:
		t.Fatalf("%s: %v\n%s", search, err, out)
	}
	t.Logf("%s, life %s breaks: %s", search, found[1], found[2])
	return true
}

// switched is the package that the mutants ask whose turn it is. It exists in the
// overlay alone.
const switched = `package mutants

import "os"

var turn = os.Getenv("MUTANT")

func On(name string) bool { return turn == name }
`

// build builds the test program with every mutant in it.
func build(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir, overlay := t.TempDir(), map[string]string{}
	put := func(file, text string) {
		at := filepath.Join(dir, strconv.Itoa(len(overlay))+".go")
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay[filepath.Join(root, file)] = at
	}
	for file, text := range mutated(t, root) {
		put(file, text)
	}
	put("internal/mutants/mutants.go", switched)
	raw, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	list, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "simulation.test")
	if err := os.WriteFile(list, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", list, "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the mutants: %v\n%s", err, out)
	}
	return program
}

// mutated are the sources with all mutants in them, by file.
func mutated(t *testing.T, root string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, m := range mutants {
		for _, e := range m.changes {
			if texts[e.file] == "" {
				raw, err := os.ReadFile(filepath.Join(root, e.file))
				if err != nil {
					t.Fatal(err)
				}
				texts[e.file] = strings.Replace(string(raw), "import (", "import (\n\t\"kubernaut.ai/kubernaut/internal/mutants\"", 1)
			}
			if n := strings.Count(texts[e.file], e.old); n != 1 {
				t.Fatalf("the mutant %q finds its place in %s %d times: adapt it to the source", m.name, e.file, n)
			}
			turn := strings.ReplaceAll(e.new, "on(name)", "mutants.On("+strconv.Quote(m.name)+")")
			texts[e.file] = strings.Replace(texts[e.file], e.old, turn, 1)
		}
	}
	return texts
}
