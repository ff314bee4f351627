package follow

import (
	"fmt"
	"io"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/terminal"
)

// Printer writes events as lines, each with the time since began.
func Printer(w io.Writer, paint terminal.Paint, began time.Time) func(Event) {
	return func(e Event) {
		for _, text := range Lines(e, paint) {
			_, _ = fmt.Fprintf(w, "%s  %s\n", paint.Faint(fmt.Sprintf("%6.1fs", max(0, e.At.Sub(began)).Seconds())), text)
		}
	}
}

// Lines is what people read about an event.
func Lines(e Event, paint terminal.Paint) []string {
	switch e.Kind {
	case Phase:
		return phaseLines(e.Execution, paint)
	case Waiting:
		return []string{column("Waiting", paint.Warn) + waits(e.Execution.Status.Waiting)}
	case StepStarted:
		return []string{column("step", paint.Accent) + fmt.Sprintf("%s/%s started", e.Task, e.Step)}
	case StepFinished:
		style := paint.Good
		if e.ExitCode != 0 {
			style = paint.Bad
		}
		return []string{column("step", paint.Accent) + fmt.Sprintf("%s/%s %s", e.Task, e.Step, style(fmt.Sprintf("exit code %d", e.ExitCode)))}
	case Log:
		return []string{column("", nil) + paint.Faint("│ ") + printable(e.Text)}
	}
	return []string{column("note", paint.Warn) + e.Text}
}

// column pads a word to the width of the first column.
func column(word string, style func(string) string) string {
	pad := strings.Repeat(" ", max(1, 11-len(word)))
	if style != nil {
		word = style(word)
	}
	return word + pad
}

// StyleOf colours a phase.
func StyleOf(phase v1alpha1.Phase, paint terminal.Paint) func(string) string {
	switch phase {
	case v1alpha1.PhaseCompleted:
		return paint.Good
	case v1alpha1.PhaseFailed:
		return paint.Bad
	case v1alpha1.PhaseSkipped, v1alpha1.PhaseCancelled:
		return paint.Warn
	}
	return paint.Accent
}

func phaseLines(ex *v1alpha1.WorkflowExecution, paint terminal.Paint) []string {
	s := ex.Status
	head := column(string(s.Phase), StyleOf(s.Phase, paint))
	switch {
	case s.SkipDetails != nil:
		return []string{head + string(s.SkipDetails.Reason) + ": " + s.SkipDetails.Message}
	case s.FailureDetails != nil:
		return failureLines(head, s.FailureDetails)
	case s.Phase == v1alpha1.PhaseCompleted && s.Duration != nil:
		return []string{head + "in " + s.Duration.Round(time.Second/10).String()}
	case s.PipelineRunRef != nil && !Ended(ex):
		return []string{head + fmt.Sprintf("run %s/%s", s.PipelineRunRef.Namespace, s.PipelineRunRef.Name)}
	}
	return []string{strings.TrimRight(head, " ")}
}

func failureLines(head string, d *v1alpha1.FailureDetails) []string {
	lines := []string{head + string(d.Reason) + ": " + d.NaturalLanguageSummary}
	if where := Where(d); where != "" {
		lines = append(lines, column("", nil)+where)
	}
	for _, line := range d.Evidence {
		lines = append(lines, column("", nil)+"> "+printable(line))
	}
	return lines
}

// Where names the task and step that failed, and the exit code.
func Where(d *v1alpha1.FailureDetails) string {
	var parts []string
	if d.FailedTaskName != "" {
		parts = append(parts, "task "+d.FailedTaskName)
	}
	if d.FailedStepName != "" {
		parts = append(parts, "step "+d.FailedStepName)
	}
	if d.ExitCode != nil {
		parts = append(parts, fmt.Sprintf("exit code %d", *d.ExitCode))
	}
	return strings.Join(parts, ", ")
}

func waits(w *v1alpha1.Waiting) string {
	text := w.Reason + ": " + w.Message
	if w.Until != nil {
		text += " (until " + w.Until.Local().Format(time.TimeOnly) + " at the latest)"
	}
	return text
}

// printable keeps control characters of a workflow's output away from the
// terminal: they could hide or forge what others print.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '\uFFFD'
		}
		return r
	}, strings.TrimRight(text, "\r"))
}
