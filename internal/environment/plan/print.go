package plan

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Text draws the plan as a tree. Each step stands once, below the prerequisite
// that it waits for longest; its other prerequisites follow in brackets.
func (p *Plan) Text() string {
	var out strings.Builder
	path, total := p.Critical()
	fmt.Fprintf(&out, "%d steps; critical path %s: %s\n", len(p.steps), short(total), strings.Join(path, " → "))
	head := p.heads()
	below := make([][]int, len(p.steps))
	var roots []int
	for i := range p.steps {
		if len(p.after[i]) == 0 {
			roots = append(roots, i)
			continue
		}
		parent := p.parent(i, head)
		below[parent] = append(below[parent], i)
	}
	t := tree{plan: p, below: below, head: head, out: &out}
	t.draw(roots, "")
	return out.String()
}

type tree struct {
	plan  *Plan
	below [][]int
	head  []time.Duration
	out   *strings.Builder
}

func (t tree) draw(steps []int, indent string) {
	for n, i := range steps {
		branch, deeper := "├─ ", "│  "
		if n == len(steps)-1 {
			branch, deeper = "└─ ", "   "
		}
		fmt.Fprintln(t.out, indent+branch+t.line(i))
		t.draw(t.below[i], indent+deeper)
	}
}

func (t tree) line(i int) string {
	s := t.plan.steps[i]
	line := s.Name
	if s.Expected > 0 {
		line += "  " + short(s.Expected)
	}
	if s.Weight > 1 {
		line += fmt.Sprintf("  (%d cores)", s.Weight)
	}
	var also []string
	for _, at := range t.plan.after[i] {
		if at != t.plan.parent(i, t.head) {
			also = append(also, t.plan.steps[at].Name)
		}
	}
	if len(also) > 0 {
		line += "  [also after " + strings.Join(also, ", ") + "]"
	}
	return line
}

// heads is the expected time from the start of the plan to the end of each step.
func (p *Plan) heads() []time.Duration {
	head := make([]time.Duration, len(p.steps))
	for i, s := range p.steps {
		for _, at := range p.after[i] {
			head[i] = max(head[i], head[at])
		}
		head[i] += s.Expected
	}
	return head
}

func (p *Plan) parent(i int, head []time.Duration) int {
	parent := p.after[i][0]
	for _, at := range p.after[i] {
		if head[at] >= head[parent] {
			parent = at
		}
	}
	return parent
}

// DOT is the plan for Graphviz. Edges carry what is needed, the critical path is bold.
func (p *Plan) DOT() string {
	critical := map[string]bool{}
	path, _ := p.Critical()
	for _, name := range path {
		critical[name] = true
	}
	var out strings.Builder
	out.WriteString("digraph environment {\n  rankdir=LR;\n  node [shape=box];\n")
	for i, s := range p.steps {
		style := ""
		if critical[s.Name] {
			style = ", style=bold"
		}
		fmt.Fprintf(&out, "  %q [label=%q%s];\n", s.Name, fmt.Sprintf("%s\n%s", s.Name, short(s.Expected)), style)
		for _, at := range p.after[i] {
			fmt.Fprintf(&out, "  %q -> %q [label=%q];\n", p.steps[at].Name, s.Name, p.because(i, at))
		}
	}
	out.WriteString("}\n")
	return out.String()
}

// because is the first thing step i needs of step at, and how many more there are.
func (p *Plan) because(i, at int) string {
	var things []Object
	seen := map[Object]bool{}
	for _, n := range p.steps[i].Needs {
		if from, ok := p.provider[n.Of]; ok && from == at && !seen[n.Of] {
			seen[n.Of] = true
			things = append(things, n.Of)
		}
	}
	label := things[0].Kind + " " + things[0].Name
	if len(things) > 1 {
		label += fmt.Sprintf(" and %d more", len(things)-1)
	}
	return label
}

// stepJSON is the machine readable form of a step; durations are seconds.
type stepJSON struct {
	Name            string   `json:"name"`
	After           []string `json:"after"`
	Provides        []Object `json:"provides"`
	Needs           []Need   `json:"needs"`
	Weight          int      `json:"weight"`
	ExpectedSeconds float64  `json:"expectedSeconds"`
	LimitSeconds    float64  `json:"limitSeconds,omitempty"`
}

// MarshalJSON writes {"steps": […], "critical": {…}}; durations are seconds.
func (p *Plan) MarshalJSON() ([]byte, error) {
	steps := make([]stepJSON, len(p.steps))
	for i, s := range p.steps {
		steps[i] = stepJSON{
			Name: s.Name, After: p.namesOf(p.after[i]), Weight: s.Weight, ExpectedSeconds: s.Expected.Seconds(),
			Provides: append([]Object{}, s.Provides...), Needs: append([]Need{}, s.Needs...), LimitSeconds: s.Limit.Seconds(),
		}
	}
	path, total := p.Critical()
	return json.Marshal(map[string]any{
		"steps":    steps,
		"critical": map[string]any{"steps": path, "expectedSeconds": total.Seconds()},
	})
}

func short(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
