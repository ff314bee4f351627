package datastorage

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDataTerm(t *testing.T) {
	for text, want := range map[string]DataTerm{
		"a":                    {Path: []string{"a"}},
		"a.b-c.0=":             {Path: []string{"a", "b-c", "0"}, Op: OpIs},
		"a=b=c":                {Path: []string{"a"}, Op: OpIs, Text: "b=c"},
		"a>=-1.5e3":            {Path: []string{"a"}, Op: OpAtLeast, Number: -1500},
		"a<16":                 {Path: []string{"a"}, Op: OpBelow, Number: 16},
		`"a.\"b\"".c<=2`:       {Path: []string{`a."b"`, "c"}, Op: OpAtMost, Number: 2},
		`"".x>0`:               {Path: []string{"", "x"}, Op: OpAbove},
		`labels."größe"=klein`: {Path: []string{"labels", "größe"}, Op: OpIs, Text: "klein"},
	} {
		got, err := parseDataTerm(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
}

// FuzzParseDataTerm: what is taken can be written again, and means the same.
func FuzzParseDataTerm(f *testing.F) {
	for _, seed := range []string{"a", "a.b=c", `"x y".z>=1`, "a<=1e308", `"\u0000"`, "a..b", `"a"b`, "a>nan", "a=\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		term, err := parseDataTerm(text)
		if err != nil {
			return
		}
		again, err := parseDataTerm(write(t, term))
		if diff := cmp.Diff(term, again); diff != "" || err != nil {
			t.Errorf("%q: %v (-first +again):\n%s", text, err, diff)
		}
	})
}

func write(t *testing.T, term DataTerm) string {
	t.Helper()
	text := ""
	for i, name := range term.Path {
		raw, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			text += "."
		}
		text += string(raw)
	}
	switch term.Op {
	case OpExists:
		return text
	case OpIs:
		return text + "=" + term.Text
	}
	return text + string(term.Op) + strconv.FormatFloat(term.Number, 'g', -1, 64)
}
