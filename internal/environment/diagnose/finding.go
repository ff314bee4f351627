package diagnose

import (
	"fmt"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// Finding is one root cause.
type Finding struct {
	Code     Code        `json:"code"`
	Object   plan.Object `json:"object,omitzero"` // that is at fault, or shows it
	Sentence string      `json:"sentence"`
	Evidence []Evidence  `json:"evidence"`
	Next     []string    `json:"next"`              // commands to type
	Hopeless bool        `json:"hopeless"`          // waiting longer will not help
	Visible  time.Time   `json:"visible,omitzero"`  // since when what proves it can be seen; when it is hopeless, what proves that
	Affects  []string    `json:"affects,omitempty"` // what is not ready because of it

	explains []plan.Object // objects that are not well because of this
	blames   []plan.Object // objects of which this would be a consequence
	idle     bool          // it is read from what exists, nobody suffers from it yet
	merge    string        // findings alike in code, object and this are one
}

// Evidence is one thing that was seen.
type Evidence struct {
	From string    `json:"from"` // "event Failed of Pod web-1", "log of container main"
	Text string    `json:"text"`
	At   time.Time `json:"at,omitzero"`
}

// Waiting is an object that is not ready, though nothing shows that it will not be.
type Waiting struct {
	Object plan.Object `json:"object"`
	For    string      `json:"for"`
}

// Diagnosis is what a snapshot shows.
type Diagnosis struct {
	Taken    time.Time `json:"taken"`
	Findings []Finding `json:"findings"`
	Waiting  []Waiting `json:"waiting,omitempty"`
	Unread   []string  `json:"unread,omitempty"` // what could not be looked at
}

// Text is the diagnosis for people.
func (d Diagnosis) Text() string {
	var out strings.Builder
	for i, f := range d.Findings {
		if i > 0 {
			out.WriteString("\n")
		}
		f.write(&out)
	}
	if len(d.Waiting) > 0 {
		if len(d.Findings) > 0 {
			out.WriteString("\n")
		}
		out.WriteString("Not ready yet, and nothing shows that it will not be:\n")
		for _, w := range d.Waiting {
			fmt.Fprintf(&out, "  %s: %s\n", w.Object, w.For)
		}
	}
	if len(d.Unread) > 0 {
		fmt.Fprintf(&out, "Not looked at, because it could not be read: %s\n", strings.Join(d.Unread, ", "))
	}
	return out.String()
}

func (f Finding) write(out *strings.Builder) {
	verdict := ""
	if !f.Hopeless {
		verdict = " (may pass by itself)"
	}
	fmt.Fprintf(out, "%s: %s%s\n", f.Code, f.Sentence, verdict)
	for _, e := range f.Evidence {
		lines := strings.Split(e.Text, "\n")
		if len(lines) == 1 {
			fmt.Fprintf(out, "  %s: %s\n", e.From, e.Text)
			continue
		}
		fmt.Fprintf(out, "  %s:\n", e.From)
		for _, line := range lines {
			fmt.Fprintf(out, "    | %s\n", line)
		}
	}
	if len(f.Affects) > 0 {
		fmt.Fprintf(out, "  because of it not ready: %s\n", strings.Join(f.Affects, ", "))
	}
	for _, n := range f.Next {
		fmt.Fprintf(out, "  next: %s\n", n)
	}
}

// Hopeless are the findings that no waiting will cure.
func (d Diagnosis) Hopeless() []Finding {
	var found []Finding
	for _, f := range d.Findings {
		if f.Hopeless {
			found = append(found, f)
		}
	}
	return found
}

// About are the findings because of which the object is not ready.
func (d Diagnosis) About(o plan.Object) []Finding {
	var found []Finding
	for _, f := range d.Findings {
		if f.concerns(o) {
			found = append(found, f)
		}
	}
	return found
}

func (f Finding) concerns(o plan.Object) bool {
	if f.Object.WithKey("") == o.WithKey("") {
		return true
	}
	for _, e := range f.explains {
		if e == o {
			return true
		}
	}
	return false
}
