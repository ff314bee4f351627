package environment

import (
	"bytes"
	"fmt"
	"os"
	"regexp"

	"kubernaut.ai/kubernaut/internal/environment/diagnose"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/progress"
)

// journal is what the last Up wrote down; empty when none did.
type journal []progress.Event

// createJournal begins the journal of an Up. Errors of steps may quote what
// others wrote, so that it is for its owner alone.
func (w *world) createJournal() (*os.File, error) {
	if err := os.MkdirAll(w.dir(), 0o755); err != nil {
		return nil, fmt.Errorf("keeping the journal: %w", err)
	}
	file, err := os.OpenFile(w.dir("journal.jsonl"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err == nil {
		err = file.Chmod(0o600) // one that an older release left keeps its mode otherwise
	}
	if err != nil {
		return nil, fmt.Errorf("keeping the journal: %w", err)
	}
	return file, nil
}

// lastJournal reads the journal, as far as it can be read.
func (w *world) lastJournal() journal {
	raw, err := os.ReadFile(w.dir("journal.jsonl"))
	if err != nil {
		return nil
	}
	events, _ := progress.Read(bytes.NewReader(raw)) // what follows a damaged line is lost
	return events
}

// finished tells whether the Up reached its end: else it failed, was killed, or
// still goes on, and not everything is applied.
func (j journal) finished() bool {
	if len(j) == 0 {
		return false
	}
	last := j[len(j)-1]
	return last.Step == "" && last.State == progress.Ready
}

// failed are the steps that failed by themselves.
func (j journal) failed() []diagnose.Step {
	var steps []diagnose.Step
	var skipped []string
	for _, e := range j {
		switch {
		case e.State == progress.Failed && e.Step != "":
			steps = append(steps, diagnose.Step{Name: e.Step, Error: e.Error, At: e.At, Object: objectOf(e.Error)})
		case e.State == progress.Skipped, e.State == progress.Stopped:
			skipped = append(skipped, e.Step)
		}
	}
	for i := range steps {
		steps[i].Skipped = skipped
	}
	return steps
}

// failureText is how a readiness.Failure begins.
var failureText = regexp.MustCompile(`^([A-Z]\w+) "([^"]+)"(?: in ([\w-]+))?: `)

// objectOf is the object that a step waited for, as far as its error says it.
func objectOf(text string) plan.Object {
	m := failureText.FindStringSubmatch(text)
	if m == nil {
		return plan.Object{}
	}
	return plan.Object{Kind: m[1], Name: m[2], Namespace: m[3]}
}

// masked is the journal as it is kept on disk, without secrets.
func (j journal) masked(m diagnose.Mask) []byte {
	var out bytes.Buffer
	sink := progress.JSON(&out)
	for _, e := range j {
		e.Note, e.Error = m.Text(e.Note), m.Text(e.Error)
		sink.Show(e)
	}
	return out.Bytes()
}
