// Package plan is the environment as data: steps that provide and need
// objects, and the order that follows from it.
//
//	[]Step ──► Of ──► Plan ──► order, critical path, subset, text, DOT, JSON
//
// Of refuses what cannot work before anything runs: a need that nobody
// provides, a thing with two providers, steps that wait for each other.
// The package is pure: it reads no clock, no cluster and no files.
package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Object names one thing a step provides or needs. Kind is a Kubernetes kind
// ("Namespace"), or a kind of the environment's own ("Image", "Binary").
// Key, when set, is one entry of a ConfigMap or Secret.
type Object struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Key       string `json:"key,omitempty"`
}

// WithKey is one entry of the same object.
func (o Object) WithKey(key string) Object {
	o.Key = key
	return o
}

// String is how messages write the object: kind, quoted name, namespace and key.
func (o Object) String() string {
	text := fmt.Sprintf("%s %q", o.Kind, o.Name)
	if o.Namespace != "" {
		text += " in " + o.Namespace
	}
	if o.Key != "" {
		text = fmt.Sprintf("key %q of %s", o.Key, text)
	}
	return text
}

// short leaves the namespace out, for messages in which it is said elsewhere.
func (o Object) short() string {
	o.Namespace = ""
	return o.String()
}

// Need is one reference from a step to a thing that must be there before it runs.
type Need struct {
	By       Object `json:"by,omitzero"`        // the object of the step that refers to it; zero: the step itself
	Of       Object `json:"of"`                 // what is needed
	Optional bool   `json:"optional,omitempty"` // waited for when the plan provides it, not missed when it does not
}

// Step is one unit of work. Weight is how many cores it keeps busy (0: it only
// waits); Expected is how long it takes as far as is known, 0 when nothing is;
// Limit is after how long it is not slow any more but stuck, 0 when never.
type Step struct {
	Name     string
	Provides []Object
	Needs    []Need
	Weight   int
	Expected time.Duration
	Limit    time.Duration
}

// Plan is a checked set of steps. It is never changed after Of has made it.
type Plan struct {
	steps    []Step         // in an order that respects every need
	index    map[string]int // step name → position in steps
	after    [][]int        // positions of the steps that must be ready before
	provider map[Object]int // thing → position of the step that provides it
	tail     []time.Duration
}

// Of checks the steps and orders them. The error joins everything that is
// wrong, sorted, one line each.
func Of(steps ...Step) (*Plan, error) {
	b := builder{steps: steps, provider: map[Object]int{}}
	b.names()
	b.providers()
	b.needs()
	if len(b.problems) > 0 {
		return nil, b.err()
	}
	order := b.order()
	if len(b.problems) > 0 {
		return nil, b.err()
	}
	return b.plan(order), nil
}

// Steps returns the steps in an order that respects every need; steps free to
// go at the same time keep the order in which they were given.
func (p *Plan) Steps() []Step { return slices.Clone(p.steps) }

// Step returns the step of that name.
func (p *Plan) Step(name string) (Step, bool) {
	i, ok := p.index[name]
	if !ok {
		return Step{}, false
	}
	return p.steps[i], true
}

// After names the steps that must be ready before the named one may run, in
// plan order.
func (p *Plan) After(name string) []string {
	i, ok := p.index[name]
	if !ok {
		return nil
	}
	return p.namesOf(p.after[i])
}

// Provider names the step that provides the object.
func (p *Plan) Provider(o Object) (string, bool) {
	i, ok := p.provider[o]
	if !ok {
		return "", false
	}
	return p.steps[i].Name, true
}

func (p *Plan) namesOf(positions []int) []string {
	names := make([]string, len(positions))
	for i, at := range positions {
		names[i] = p.steps[at].Name
	}
	return names
}

// builder collects what Of finds out about the steps, and what is wrong with them.
type builder struct {
	steps    []Step
	provider map[Object]int
	after    [][]int
	problems []string
}

func (b *builder) problem(format string, args ...any) {
	b.problems = append(b.problems, fmt.Sprintf(format, args...))
}

func (b *builder) err() error {
	slices.Sort(b.problems)
	b.problems = slices.Compact(b.problems)
	errs := make([]error, len(b.problems))
	for i, text := range b.problems {
		errs[i] = errors.New(text)
	}
	return errors.Join(errs...)
}

func (b *builder) names() {
	seen := map[string]bool{}
	for _, s := range b.steps {
		if strings.TrimSpace(s.Name) == "" {
			b.problem("a step that provides %v has no name", s.Provides)
		}
		if seen[s.Name] {
			b.problem("%s: two steps have this name", s.Name)
		}
		if s.Weight < 0 || s.Expected < 0 || s.Limit < 0 {
			b.problem("%s: weight %d, expected %s and limit %s must not be negative", s.Name, s.Weight, s.Expected, s.Limit)
		}
		seen[s.Name] = true
	}
}

func (b *builder) providers() {
	for i, s := range b.steps {
		for _, o := range s.Provides {
			first, taken := b.provider[o]
			if taken && first != i {
				b.problem("%s: %s is provided by %s already", s.Name, o, b.steps[first].Name)
				continue
			}
			b.provider[o] = i
		}
	}
}

func (b *builder) needs() {
	b.after = make([][]int, len(b.steps))
	for i, s := range b.steps {
		for _, n := range s.Needs {
			at, ok := b.provider[n.Of]
			switch {
			case ok && at != i:
				b.after[i] = append(b.after[i], at)
			case !ok && !n.Optional:
				b.problem("%s", missing(s, n))
			}
		}
		slices.Sort(b.after[i])
		b.after[i] = slices.Compact(b.after[i])
	}
}

// missing is the sentence for a need that nobody provides.
func missing(s Step, n Need) string {
	who := s.Name
	if n.By != (Object{}) {
		who += ": " + n.By.short()
	}
	of := n.Of.String()
	if n.Of.Namespace == n.By.Namespace {
		of = n.Of.short()
	}
	return fmt.Sprintf("%s needs %s, which no component provides", who, of)
}

// order is a stable topological order: again and again the first step all of
// whose predecessors are placed. Steps left over wait for each other.
func (b *builder) order() []int {
	placed := make([]bool, len(b.steps))
	var order []int
	for len(order) < len(b.steps) {
		next := -1
		for i := range b.steps {
			if !placed[i] && b.free(i, placed) {
				next = i
				break
			}
		}
		if next < 0 {
			b.cycle(placed)
			return nil
		}
		placed[next] = true
		order = append(order, next)
	}
	return order
}

func (b *builder) free(i int, placed []bool) bool {
	return !slices.ContainsFunc(b.after[i], func(at int) bool { return !placed[at] })
}

// cycle says which steps wait for each other, and for what. Every step that is
// not placed has a predecessor that is not placed either, so walking back from
// any of them must come around.
func (b *builder) cycle(placed []bool) {
	at := slices.Index(placed, false)
	var walked []int
	for !slices.Contains(walked, at) {
		walked = append(walked, at)
		at = b.unplacedBefore(at, placed)
	}
	walked = walked[slices.Index(walked, at):]
	links := make([]string, len(walked))
	for i, from := range walked {
		to := walked[(i+1)%len(walked)]
		links[i] = fmt.Sprintf("%s needs %s of %s", b.steps[from].Name, b.link(from, to), b.steps[to].Name)
	}
	b.problem("steps wait for each other: %s", strings.Join(links, ", "))
}

func (b *builder) unplacedBefore(i int, placed []bool) int {
	at := slices.IndexFunc(b.after[i], func(j int) bool { return !placed[j] })
	return b.after[i][at]
}

func (b *builder) link(from, to int) Object {
	for _, n := range b.steps[from].Needs {
		if at, ok := b.provider[n.Of]; ok && at == to {
			return n.Of
		}
	}
	return Object{}
}

// plan moves everything into the found order.
func (b *builder) plan(order []int) *Plan {
	p := &Plan{index: map[string]int{}, provider: map[Object]int{}, after: make([][]int, len(order))}
	position := make([]int, len(order))
	for to, from := range order {
		position[from] = to
		p.steps = append(p.steps, b.steps[from])
		p.index[b.steps[from].Name] = to
	}
	for to, from := range order {
		for _, at := range b.after[from] {
			p.after[to] = append(p.after[to], position[at])
		}
		slices.Sort(p.after[to])
	}
	for o, from := range b.provider {
		p.provider[o] = position[from]
	}
	p.tail = p.tails()
	return p
}
