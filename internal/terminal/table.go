package terminal

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// gap stands between two columns.
const gap = 3

// Cell is one cell of a table; a nil Style leaves it plain.
type Cell struct {
	Text  string
	Style func(string) string
}

// Plain makes cells without style.
func Plain(texts ...string) []Cell {
	cells := make([]Cell, len(texts))
	for i, t := range texts {
		cells[i] = Cell{Text: t}
	}
	return cells
}

// Table is rows of aligned columns. An empty cell is shown as "-" where Blank
// is not set.
type Table struct {
	Header []string
	Rows   [][]Cell
	Blank  bool
}

// Add appends a row.
func (t *Table) Add(cells ...Cell) { t.Rows = append(t.Rows, cells) }

// Write writes the header, unless it is nil, and the rows.
func (t *Table) Write(w io.Writer) error {
	widths := t.Widths()
	var b strings.Builder
	if t.Header != nil {
		line(&b, Plain(t.Header...), widths, t.Blank)
	}
	for _, row := range t.Rows {
		line(&b, row, widths, t.Blank)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

// Widths returns the width of each column, in characters.
func (t *Table) Widths() []int {
	var widths []int
	measure := func(cells []Cell) {
		for i, c := range cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(shown(c.Text, t.Blank)))
		}
	}
	measure(Plain(t.Header...))
	for _, row := range t.Rows {
		measure(row)
	}
	return widths
}

func shown(text string, blank bool) string {
	if text == "" && !blank {
		return "-"
	}
	return text
}

func line(b *strings.Builder, cells []Cell, widths []int, blank bool) {
	var row strings.Builder
	for i, c := range cells {
		text := shown(c.Text, blank)
		pad := widths[i] - utf8.RuneCountInString(text) + gap
		if c.Style != nil {
			text = c.Style(text)
		}
		row.WriteString(text)
		if i < len(cells)-1 {
			row.WriteString(strings.Repeat(" ", pad))
		}
	}
	b.WriteString(strings.TrimRight(row.String(), " "))
	b.WriteByte('\n')
}
