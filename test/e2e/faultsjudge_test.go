package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/environment/diagnose"
)

// note remembers when the cause was named, and called hopeless, for the first
// time, and every other one that was called hopeless.
func (r *injected) note(found []diagnose.Finding, now time.Time) {
	for _, f := range found {
		switch {
		case !r.mine(f):
			continue
		case f.Code != r.Code:
			r.noteForeign(f)
			continue
		}
		if r.named.IsZero() {
			r.named, r.visible, r.found = now, r.seen(f), found
		}
		if f.Hopeless && r.hopeless.IsZero() {
			r.hopeless, r.decided = now, r.seen(f)
		}
	}
}

// seen is when the finding's proof was there: what was wrong before the fault
// was put there counts from then.
func (r *injected) seen(f diagnose.Finding) time.Time {
	if f.Visible.Before(r.began) {
		return r.began
	}
	return f.Visible
}

// noteForeign keeps a cause that would have ended a wait wrongly.
func (r *injected) noteForeign(f diagnose.Finding) {
	text := string(f.Code) + ": " + f.Sentence
	if f.Hopeless && !slices.Contains(r.foreign, text) {
		r.foreign = append(r.foreign, text)
	}
}

// mine tells whether a finding is about this fault's namespace, or its own part
// of what all share.
func (r *injected) mine(f diagnose.Finding) bool {
	return f.Object.Namespace == r.namespace || f.Object.Namespace == "" && (strings.Contains(f.Object.Name, r.namespace) || !strings.Contains(f.Object.Name, "fault-"))
}

// judge holds the diagnosis to what was injected.
func (r *injected) judge(t *testing.T) {
	if r.err != nil {
		t.Fatal(r.err)
	}
	var others []string
	right := false
	for _, f := range r.found {
		switch {
		case !r.mine(f):
		case f.Code == r.Code:
			right = true
			r.says(t, f)
		default:
			others = append(others, string(f.Code)+": "+f.Sentence)
		}
	}
	if !right {
		t.Errorf("%s was not named", r.Code)
	}
	if len(others) > 0 {
		t.Errorf("named beside it, and not injected:\n%s", strings.Join(others, "\n"))
	}
	if len(r.foreign) > 0 {
		t.Errorf("called hopeless on the way, and not injected:\n%s", strings.Join(r.foreign, "\n"))
	}
	r.judgeTimes(t)
	if t.Failed() {
		t.Logf("the diagnosis:\n%s", diagnose.Diagnosis{Findings: r.found}.Text())
	}
}

// judgeTimes holds the diagnosis to the time it has.
func (r *injected) judgeTimes(t *testing.T) {
	late := t.Errorf
	if crowded() {
		late = t.Logf
	}
	if took := r.named.Sub(r.visible); took > namedWithin {
		late("named %s after it was visible", took.Round(time.Second))
	}
	switch took := r.hopeless.Sub(r.decided); {
	case r.Slow && !r.hopeless.IsZero():
		t.Error("called hopeless, though somebody may still come and help")
	case took > namedWithin:
		late("called hopeless %s after that was visible", took.Round(time.Second))
	}
}

func (r *injected) says(t *testing.T, f diagnose.Finding) {
	for _, part := range r.Says {
		part = strings.ReplaceAll(part, "{{namespace}}", r.namespace)
		if !strings.Contains(f.Sentence, part) {
			t.Errorf("the sentence does not say %q: %s", part, f.Sentence)
		}
	}
	object := strings.ReplaceAll(r.Object, "{{namespace}}", r.namespace)
	if got := f.Object.Kind + "/" + f.Object.Name; object != "" && got != object {
		t.Errorf("the object at fault is %s, want %s", got, object)
	}
	if len(f.Evidence) == 0 || len(f.Next) == 0 {
		t.Errorf("it has no evidence or no next step: %+v", f)
	}
}

// table is the measures, one line per fault.
func table(results []*injected) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%-26s %-22s %9s %9s %9s %9s %9s %9s  limit %s\n", "fault", "code", "visible", "named", "after", "decided", "hopeless", "after", namedWithin)
	since := func(began, t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return fmt.Sprintf("%.1fs", max(0, t.Sub(began).Seconds()))
	}
	for _, r := range results {
		fmt.Fprintf(&out, "%-26s %-22s %9s %9s %9s %9s %9s %9s\n", r.name, r.Code, since(r.began, r.visible), since(r.began, r.named), since(r.visible, r.named),
			since(r.began, r.decided), since(r.began, r.hopeless), since(r.decided, r.hopeless))
	}
	return out.String()
}
