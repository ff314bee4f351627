package graph

import (
	"cmp"
	"slices"
)

// Sizes in pixels.
const (
	boxHeight  = 34.0
	lineHeight = 12.0 // of the place that a line takes where it passes a layer
	between    = 10.0 // two neighbours of a layer
	channel    = 42.0 // between layers, where lines run
	margin     = 12.0
	letter     = 7.7
)

// spot is the place of a box, or of a line that passes through a layer.
type spot struct {
	node   int // -1: a line passes
	layer  int
	left   []int // spots it is joined with in the layer before
	right  []int // and in the layer after
	y      float64
	height float64
}

// line is one edge of the graph, through the spots that it touches.
type line struct {
	from, to int // nodes
	via      []int
}

// drawing is the graph with its places.
type drawing struct {
	nodes  []Node
	spots  []spot
	layers [][]int // spots from top to bottom
	lines  []line
	x      []float64 // left edge of each layer
	width  []float64 // of each layer's boxes
	height float64
}

func arrange(nodes []Node) *drawing {
	after := reduced(nodes)
	layer := layersOf(after)
	d := &drawing{nodes: nodes}
	for i := range nodes {
		d.add(spot{node: i, layer: layer[i], height: boxHeight})
	}
	for i, before := range after {
		for _, at := range before {
			d.join(at, i)
		}
	}
	for range 12 {
		d.sort(func(s spot) []int { return s.left }, false)
		d.sort(func(s spot) []int { return s.right }, true)
	}
	d.place()
	return d
}

func (d *drawing) add(s spot) int {
	d.spots = append(d.spots, s)
	at := len(d.spots) - 1
	for len(d.layers) <= s.layer {
		d.layers = append(d.layers, nil)
	}
	d.layers[s.layer] = append(d.layers[s.layer], at)
	return at
}

// join leads a line from one box to another, with a spot in every layer between.
func (d *drawing) join(from, to int) {
	l := line{from: from, to: to, via: []int{from}}
	last := from
	link := func(at int) {
		d.spots[last].right = append(d.spots[last].right, at)
		d.spots[at].left = append(d.spots[at].left, last)
		l.via = append(l.via, at)
		last = at
	}
	for layer := d.spots[from].layer + 1; layer < d.spots[to].layer; layer++ {
		link(d.add(spot{node: -1, layer: layer, height: lineHeight}))
	}
	link(to)
	d.lines = append(d.lines, l)
}

// sort orders each layer by the mean position of its neighbours on one side,
// so that fewer lines cross.
func (d *drawing) sort(neighbours func(spot) []int, backward bool) {
	position := make([]float64, len(d.spots))
	for _, layer := range d.layers {
		for i, at := range layer {
			position[at] = float64(i)
		}
	}
	order := slices.Clone(d.layers)
	if backward {
		slices.Reverse(order)
	}
	for _, layer := range order {
		weight := map[int]float64{}
		for _, at := range layer {
			weight[at] = mean(neighbours(d.spots[at]), position, position[at])
		}
		slices.SortStableFunc(layer, func(a, b int) int { return cmp.Compare(weight[a], weight[b]) })
		for i, at := range layer {
			position[at] = float64(i)
		}
	}
}

func mean(of []int, value []float64, otherwise float64) float64 {
	if len(of) == 0 {
		return otherwise
	}
	sum := 0.0
	for _, at := range of {
		sum += value[at]
	}
	return sum / float64(len(of))
}

// place gives every spot its height: near to its neighbours on both sides, in
// the order found, and without touching another.
func (d *drawing) place() {
	for _, layer := range d.layers {
		y := 0.0
		for _, at := range layer {
			d.spots[at].y = y
			y += d.spots[at].height + between
		}
	}
	for round := range 24 {
		for i := range d.layers {
			if round%2 == 1 {
				i = len(d.layers) - 1 - i
			}
			d.settle(d.layers[i])
		}
	}
	top := 0.0
	for _, s := range d.spots {
		top = min(top, s.y)
	}
	for i := range d.spots {
		d.spots[i].y += margin - top
		d.height = max(d.height, d.spots[i].y+d.spots[i].height+margin)
	}
	x := margin
	for _, layer := range d.layers {
		width := 40.0
		for _, at := range layer {
			if n := d.spots[at].node; n >= 0 {
				width = max(width, float64(len([]rune(d.nodes[n].Name)))*letter+20)
			}
		}
		d.x, d.width = append(d.x, x), append(d.width, width)
		x += width + channel
	}
}

// settle moves the spots of a layer to where their neighbours are, then apart.
func (d *drawing) settle(layer []int) {
	middle := make([]float64, len(d.spots))
	for i, s := range d.spots {
		middle[i] = s.y + s.height/2
	}
	wanted := make([]float64, len(layer))
	for i, at := range layer {
		s := d.spots[at]
		wanted[i] = mean(slices.Concat(s.left, s.right), middle, middle[at]) - s.height/2
	}
	// Pushed down from the top and up from the bottom: the middle of both is
	// fair to those above and below.
	down, up := slices.Clone(wanted), slices.Clone(wanted)
	for i := 1; i < len(layer); i++ {
		down[i] = max(down[i], down[i-1]+d.spots[layer[i-1]].height+between)
	}
	for i := len(layer) - 2; i >= 0; i-- {
		up[i] = min(up[i], up[i+1]-d.spots[layer[i]].height-between)
	}
	for i, at := range layer {
		d.spots[at].y = (down[i] + up[i]) / 2
	}
}
