// Package graph draws what waits for what, as an SVG picture in layers from
// left to right.
//
//	[]Node ──► reduced ──► layers ──► order in each ──► places ──► SVG
//
// It is pure and knows nothing of plans: whoever has nodes and their
// predecessors can draw them. The picture needs nothing from outside and
// follows the reader's choice of light or dark.
package graph

import "slices"

// Node is one box. Class says how it looks: "critical" or "failed", or nothing.
type Node struct {
	Name  string
	Label string // small, below the name
	Title string // shown when the pointer rests on the box
	Class string
	After []string // names of the nodes it waits for
}

// reduced returns, for each node, the positions of its predecessors without
// those that another predecessor waits for already: the picture of the same
// order with the fewest lines. Nodes come after their predecessors.
func reduced(nodes []Node) [][]int {
	index := map[string]int{}
	for i, n := range nodes {
		index[n.Name] = i
	}
	before := make([]map[int]bool, len(nodes)) // all that a node waits for, however far
	direct := make([][]int, len(nodes))
	for i, n := range nodes {
		before[i] = map[int]bool{}
		var far []int
		for _, name := range n.After {
			at, ok := index[name]
			if !ok || at >= i {
				continue
			}
			direct[i] = append(direct[i], at)
			for p := range before[at] {
				far = append(far, p)
				before[i][p] = true
			}
		}
		direct[i] = slices.DeleteFunc(direct[i], func(at int) bool { return slices.Contains(far, at) })
		for _, at := range direct[i] {
			before[i][at] = true
		}
	}
	return direct
}

// layersOf gives each node its layer: right of all it waits for, and a node that
// waits for less than waits for it as near to those as it can be.
func layersOf(after [][]int) []int {
	layer := make([]int, len(after))
	next := make([][]int, len(after))
	for i, before := range after {
		for _, at := range before {
			layer[i] = max(layer[i], layer[at]+1)
			next[at] = append(next[at], i)
		}
	}
	for i := len(after) - 1; i >= 0; i-- {
		if len(next[i]) == 0 || len(after[i]) >= len(next[i]) && len(after[i]) > 0 {
			continue
		}
		nearest := layer[next[i][0]]
		for _, n := range next[i] {
			nearest = min(nearest, layer[n])
		}
		layer[i] = nearest - 1
	}
	return layer
}
