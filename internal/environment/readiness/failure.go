package readiness

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/diagnose"
	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// Failure is an object that did not become ready, and what can be seen of why.
type Failure struct {
	Object     plan.Object
	Cause      string   // one sentence
	Hopeless   bool     // waiting longer would not have helped
	Conditions []string // of the object
	Pods       []string // one line each
	Events     []string // the last warnings, oldest first
	Log        *Log     // of the container that explains most; nil when none ran

	Findings []diagnose.Finding // the causes that are proved; then Pods, Events and Log are left out
}

// Log is the end of a container's log.
type Log struct {
	Pod, Container string
	Lines          []string
}

// found makes the failure one of the causes that are proved.
func (f *Failure) found(findings []diagnose.Finding) {
	f.Findings = findings
	var causes []string
	for _, one := range findings {
		causes = append(causes, one.Sentence)
		f.Hopeless = f.Hopeless || one.Hopeless
	}
	f.Cause = strings.Join(causes, "; and ")
}

// mask takes secrets out of what others wrote.
func (f *Failure) mask(m diagnose.Mask) {
	f.Cause = m.Text(f.Cause)
	for _, texts := range [][]string{f.Conditions, f.Pods, f.Events} {
		for i := range texts {
			texts[i] = m.Text(texts[i])
		}
	}
	if f.Log != nil {
		f.Log.Lines = m.Lines(f.Log.Lines)
	}
}

// Error tells the cause first, then the evidence below it.
func (f *Failure) Error() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s: %s", f.Object, f.Cause)
	for _, line := range f.proofs() {
		fmt.Fprintf(&out, "\n  %s", line)
	}
	for _, line := range f.Conditions {
		fmt.Fprintf(&out, "\n  condition %s", line)
	}
	for _, line := range f.Pods {
		fmt.Fprintf(&out, "\n  %s", line)
	}
	for _, line := range f.Events {
		fmt.Fprintf(&out, "\n  event %s", line)
	}
	if f.Log != nil {
		fmt.Fprintf(&out, "\n  last lines of container %s of pod %s:", f.Log.Container, f.Log.Pod)
		for _, line := range f.Log.Lines {
			fmt.Fprintf(&out, "\n    | %s", line)
		}
	}
	return out.String()
}

// proofs are the evidence and the next steps of the findings.
func (f *Failure) proofs() []string {
	var lines []string
	for _, one := range f.Findings {
		for _, e := range one.Evidence {
			lines = append(lines, e.From+": "+strings.ReplaceAll(e.Text, "\n", "\n    | "))
		}
		for _, next := range one.Next {
			lines = append(lines, "next: "+next)
		}
	}
	return lines
}

// named is how messages write an object.
func named(u *unstructured.Unstructured) plan.Object { return derive.Of(u) }
