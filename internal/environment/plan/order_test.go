package plan

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// generated is a plan of random steps: thing i is provided by step i (or, with a
// small chance, by nobody), and steps need things of any other step.
func generated(t *rapid.T) []Step {
	n := rapid.IntRange(1, 12).Draw(t, "steps")
	steps := make([]Step, n)
	for i := range steps {
		steps[i].Name = fmt.Sprintf("s%d", i)
		if rapid.IntRange(0, 30).Draw(t, "provides") > 0 {
			steps[i].Provides = []Object{thing(i)}
		}
		for range rapid.IntRange(0, 3).Draw(t, "needs") {
			// Mostly earlier things, so that many plans are valid; sometimes any.
			bound := i
			if rapid.IntRange(0, 40).Draw(t, "anywhere") == 0 {
				bound = n
			}
			if bound == 0 {
				continue
			}
			need := Need{Of: thing(rapid.IntRange(0, bound-1).Draw(t, "need")), Optional: rapid.Bool().Draw(t, "optional")}
			steps[i].Needs = append(steps[i].Needs, need)
		}
	}
	return rapid.Permutation(steps).Draw(t, "order")
}

func thing(i int) Object { return Object{Kind: "Thing", Name: fmt.Sprint(i)} }

// runnable says by the needs alone, without the plan's order, whether the steps
// can all run: the oracle for what Of accepts.
func runnable(steps []Step) bool {
	provided, all, done := map[Object]bool{}, map[Object]bool{}, map[string]bool{}
	for _, s := range steps {
		for _, o := range s.Provides {
			all[o] = true
		}
	}
	for moved := true; moved; {
		moved = false
		for _, s := range steps {
			if done[s.Name] || !ready(s, provided, all) {
				continue
			}
			done[s.Name], moved = true, true
			for _, o := range s.Provides {
				provided[o] = true
			}
		}
	}
	return len(done) == len(steps)
}

func ready(s Step, provided, all map[Object]bool) bool {
	own := map[Object]bool{}
	for _, o := range s.Provides {
		own[o] = true
	}
	for _, n := range s.Needs {
		missing := n.Optional && !all[n.Of]
		if !provided[n.Of] && !own[n.Of] && !missing {
			return false
		}
	}
	return true
}

func TestOfAcceptsWhatCanRunAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := generated(t)
		_, err := Of(steps...)
		if can := runnable(steps); can != (err == nil) {
			t.Fatalf("can run: %v, Of says: %v\n%+v", can, err, steps)
		}
	})
}

func TestNoInterleavingUsesAThingBeforeItIsProvided(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := generated(t)
		p, err := Of(steps...)
		if err != nil {
			t.Skip("not a valid plan")
		}
		all, provided := map[Object]bool{}, map[Object]bool{}
		for o := range p.provider {
			all[o] = true
		}
		started, done := map[string]bool{}, map[string]bool{}
		for len(done) < len(steps) {
			var choices []func()
			for _, s := range p.Steps() {
				switch {
				case done[s.Name]:
				case started[s.Name]:
					choices = append(choices, func() { finish(s, done, provided) })
				case allDone(p.After(s.Name), done):
					choices = append(choices, func() { start(t, s, started, provided, all) })
				}
			}
			if len(choices) == 0 {
				t.Fatalf("stuck after %v", done)
			}
			rapid.SampledFrom(choices).Draw(t, "next")()
		}
	})
}

func start(t *rapid.T, s Step, started map[string]bool, provided, all map[Object]bool) {
	if !ready(s, provided, all) {
		t.Fatalf("%s was started, but not everything it needs is there: needs %v, provided %v", s.Name, s.Needs, provided)
	}
	started[s.Name] = true
}

func finish(s Step, done map[string]bool, provided map[Object]bool) {
	done[s.Name] = true
	for _, o := range s.Provides {
		provided[o] = true
	}
}

func allDone(names []string, done map[string]bool) bool {
	for _, name := range names {
		if !done[name] {
			return false
		}
	}
	return true
}
