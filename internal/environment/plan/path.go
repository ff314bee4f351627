package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Remaining is the expected time from the start of the named step to the end of
// the longest chain of steps that begins with it.
func (p *Plan) Remaining(name string) time.Duration {
	i, ok := p.index[name]
	if !ok {
		return 0
	}
	return p.tail[i]
}

// Critical is the chain of steps that takes longest by expectation, and how
// long it takes: no machine can be faster than that.
func (p *Plan) Critical() (names []string, total time.Duration) {
	at := -1
	for i := range p.steps {
		if len(p.after[i]) == 0 && (at < 0 || p.tail[i] > p.tail[at]) {
			at = i
		}
	}
	for at >= 0 {
		if total == 0 {
			total = p.tail[at]
		}
		names = append(names, p.steps[at].Name)
		at = p.longest(p.dependents(at))
	}
	return names, total
}

// Only is the part of the plan that the named steps need, themselves included.
func (p *Plan) Only(names ...string) (*Plan, error) {
	wanted := make([]bool, len(p.steps))
	var unknown []string
	for _, name := range names {
		i, ok := p.index[name]
		if !ok {
			unknown = append(unknown, fmt.Sprintf("%q", name))
			continue
		}
		p.want(i, wanted)
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("the plan has no step %s; its steps are %s", strings.Join(unknown, ", "), strings.Join(p.names(), ", "))
	}
	var steps []Step
	for i, s := range p.steps {
		if wanted[i] {
			steps = append(steps, s)
		}
	}
	return Of(steps...)
}

func (p *Plan) want(i int, wanted []bool) {
	if wanted[i] {
		return
	}
	wanted[i] = true
	for _, at := range p.after[i] {
		p.want(at, wanted)
	}
}

func (p *Plan) names() []string {
	names := make([]string, len(p.steps))
	for i, s := range p.steps {
		names[i] = s.Name
	}
	return names
}

// tails computes Remaining for every step, from the last one to the first.
func (p *Plan) tails() []time.Duration {
	tail := make([]time.Duration, len(p.steps))
	for i := len(p.steps) - 1; i >= 0; i-- {
		tail[i] += p.steps[i].Expected
		for _, at := range p.after[i] {
			tail[at] = max(tail[at], tail[i])
		}
	}
	return tail
}

func (p *Plan) dependents(of int) []int {
	var found []int
	for i := range p.steps {
		if slices.Contains(p.after[i], of) {
			found = append(found, i)
		}
	}
	return found
}

func (p *Plan) longest(among []int) int {
	at := -1
	for _, i := range among {
		if at < 0 || p.tail[i] > p.tail[at] {
			at = i
		}
	}
	return at
}
