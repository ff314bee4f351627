package graph

import (
	"fmt"
	"html"
	"strings"
)

// style is the look of the picture. Its names begin with "g-", so that it can
// stand inside a page. Colours stand where they are used: not every program that
// shows SVG knows variables.
const style = `
.g{font:12px ui-sans-serif,system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
.g-box{fill:#fff;stroke:#c5ccd8}
.g-line{fill:none;stroke:#b3bccb;stroke-width:1.2}
.g-name{fill:#1c2330;font-weight:600}
.g-label{fill:#667085;font-size:10px}
.g-critical .g-box{fill:#fff4ec;stroke:#c2410c;stroke-width:1.6}
.g-line.g-critical{stroke:#c2410c;stroke-width:2.2}
.g-failed .g-box{fill:#fef0ee;stroke:#b42318;stroke-width:2}
@media (prefers-color-scheme:dark){
.g-box{fill:#1d222c;stroke:#3a4252}
.g-line{stroke:#4a5366}
.g-name{fill:#e6e9ef}
.g-label{fill:#98a2b3}
.g-critical .g-box{fill:#33241a;stroke:#fb923c}
.g-line.g-critical{stroke:#fb923c}
.g-failed .g-box{fill:#3a1f1e;stroke:#f97066}
}
`

// SVG draws the nodes, which come after those they wait for. Lines that follow
// from others are left out; a line between two critical nodes is critical when
// nothing shorter joins them.
func SVG(nodes []Node) string {
	d := arrange(nodes)
	width := margin
	if n := len(d.x); n > 0 {
		width = d.x[n-1] + d.width[n-1] + margin
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" class="g" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img">`,
		width, d.height, width, d.height)
	fmt.Fprintf(&out, "<style>%s</style>\n", style)
	for _, hot := range []bool{false, true} { // those of the critical path on top
		for _, l := range d.lines {
			if d.hot(l) == hot {
				fmt.Fprintf(&out, `<path class="%s" d="%s"/>`+"\n", class("g-line", map[bool]string{true: "critical"}[hot]), d.path(l))
			}
		}
	}
	for at, s := range d.spots {
		if s.node >= 0 {
			out.WriteString(d.box(at))
		}
	}
	out.WriteString("</svg>\n")
	return out.String()
}

func (d *drawing) hot(l line) bool {
	return d.nodes[l.from].Class == "critical" && d.nodes[l.to].Class == "critical"
}

func class(base, more string) string {
	if more == "" {
		return base
	}
	return base + " g-" + more
}

func (d *drawing) box(at int) string {
	s := d.spots[at]
	n := d.nodes[s.node]
	x, w := d.x[s.layer], d.width[s.layer]
	name, label := s.y+15, s.y+27
	if n.Label == "" {
		name = s.y + 21
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<g class="%s">`, class("g-node", n.Class))
	if n.Title != "" {
		fmt.Fprintf(&out, `<title>%s</title>`, html.EscapeString(n.Title))
	}
	fmt.Fprintf(&out, `<rect class="g-box" x="%.0f" y="%.1f" width="%.0f" height="%.0f" rx="6"/>`, x, s.y, w, s.height)
	fmt.Fprintf(&out, `<text class="g-name" x="%.0f" y="%.1f">%s</text>`, x+10, name, html.EscapeString(n.Name))
	if n.Label != "" {
		fmt.Fprintf(&out, `<text class="g-label" x="%.0f" y="%.1f">%s</text>`, x+10, label, html.EscapeString(n.Label))
	}
	out.WriteString("</g>\n")
	return out.String()
}

// path is the line as a curve: it leaves and enters boxes level, and passes
// layers level where no box stands.
func (d *drawing) path(l line) string {
	var out strings.Builder
	x, y := 0.0, 0.0
	for i, at := range l.via {
		s := d.spots[at]
		left, right, middle := d.x[s.layer], d.x[s.layer]+d.width[s.layer], s.y+s.height/2
		if i == 0 {
			fmt.Fprintf(&out, "M%.1f %.1f", right, middle)
			x, y = right, middle
			continue
		}
		half := (left - x) / 2
		fmt.Fprintf(&out, "C%.1f %.1f %.1f %.1f %.1f %.1f", x+half, y, left-half, middle, left, middle)
		if i < len(l.via)-1 {
			fmt.Fprintf(&out, "H%.1f", right)
		}
		x, y = right, middle
	}
	return out.String()
}
