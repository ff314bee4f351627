package terminal

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	var paint Paint = true
	for _, c := range []struct {
		why   string
		table Table
		want  string
	}{
		{
			why:   "columns are as wide as their widest cell, and no line ends in spaces",
			table: Table{Header: []string{"NAME", "PHASE"}, Rows: [][]Cell{Plain("payment-api-1", "Running"), Plain("b", "")}},
			want:  "NAME            PHASE\npayment-api-1   Running\nb               -\n",
		},
		{
			why:   "width counts characters, not bytes",
			table: Table{Rows: [][]Cell{Plain("größe", "x"), Plain("abcde", "y")}},
			want:  "größe   x\nabcde   y\n",
		},
		{
			why:   "colour does not count",
			table: Table{Rows: [][]Cell{{{Text: "ok", Style: paint.Good}, {Text: "x"}}, Plain("long", "y")}},
			want:  "\x1b[32mok\x1b[0m     x\nlong   y\n",
		},
		{
			why:   "blank tables leave empty cells empty",
			table: Table{Blank: true, Rows: [][]Cell{Plain("", "x"), Plain("a", "y")}},
			want:  "    x\na   y\n",
		},
	} {
		var out strings.Builder
		if err := c.table.Write(&out); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.why, diff)
		}
	}
}

func TestPaintOffLeavesTextsAlone(t *testing.T) {
	var off Paint
	if got := off.Bad("x") + off.Bold("y"); got != "xy" {
		t.Errorf("painted although off: %q", got)
	}
}
