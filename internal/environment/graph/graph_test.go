package graph

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestLinesThatFollowFromOthersAreLeftOut(t *testing.T) {
	nodes := []Node{
		{Name: "a"}, {Name: "b", After: []string{"a"}}, {Name: "c", After: []string{"a", "b"}},
		{Name: "d", After: []string{"a", "c", "nobody"}},
	}
	if diff := cmp.Diff([][]int{nil, {0}, {1}, {2}}, reduced(nodes)); diff != "" {
		t.Error(diff)
	}
}

// generated is a graph of some nodes, each after any of those before it.
func generated(t *rapid.T) []Node {
	nodes := make([]Node, rapid.IntRange(0, 25).Draw(t, "nodes"))
	for i := range nodes {
		nodes[i].Name = fmt.Sprintf("node-%d", i)
		for range rapid.IntRange(0, 3).Draw(t, "edges") {
			if i > 0 {
				nodes[i].After = append(nodes[i].After, fmt.Sprintf("node-%d", rapid.IntRange(0, i-1).Draw(t, "after")))
			}
		}
	}
	return nodes
}

func TestNothingTouchesAndEveryLineGoesRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := arrange(generated(t))
		for _, layer := range d.layers {
			for i := 1; i < len(layer); i++ {
				above, below := d.spots[layer[i-1]], d.spots[layer[i]]
				if above.y+above.height > below.y+0.01 {
					t.Fatalf("%+v reaches into %+v", above, below)
				}
			}
		}
		for _, l := range d.lines {
			for i := 1; i < len(l.via); i++ {
				if d.spots[l.via[i]].layer != d.spots[l.via[i-1]].layer+1 {
					t.Fatalf("line %+v leaves out a layer", l)
				}
			}
		}
		if len(d.layers) > 0 {
			wellFormed(t, SVG(d.nodes))
		}
	})
}

func wellFormed(t interface{ Fatal(args ...any) }, text string) {
	for in := xml.NewDecoder(strings.NewReader(text)); ; {
		_, err := in.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err, text)
		}
	}
}

func TestTheCriticalPathIsSeenAndNamesAreEscaped(t *testing.T) {
	svg := SVG([]Node{
		{Name: "a<b", Class: "critical", Title: "why & how"}, {Name: "c", After: []string{"a<b"}, Class: "critical", Label: "4s"},
		{Name: "d", After: []string{"a<b"}},
	})
	wellFormed(t, svg)
	for _, want := range []string{"a&lt;b", "why &amp; how", `class="g-line g-critical"`, `class="g-node g-critical"`, "prefers-color-scheme"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %s in\n%s", want, svg)
		}
	}
	if n := strings.Count(svg, `"g-line g-critical"`); n != 1 {
		t.Errorf("%d lines are critical, want 1", n)
	}
}
