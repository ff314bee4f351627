package execution

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// maxEvidence bounds what status carries of it, in bytes.
const maxEvidence = 1024

// details tells a failure to people and to programs.
func (s Snapshot) details(f Failure, at time.Time) *v1alpha1.FailureDetails {
	started := s.codeStarted(f)
	f.Message = s.mask(f.Message)
	d := &v1alpha1.FailureDetails{
		FailedTaskIndex:     f.TaskIndex,
		FailedTaskName:      f.Task,
		FailedStepName:      f.Step,
		Reason:              f.Reason,
		Message:             cut(f.Message, maxEvidence),
		ExitCode:            f.ExitCode,
		FailedAt:            metav1.NewTime(at),
		WasExecutionFailure: started,
		RetrySafe:           !started,
		Evidence:            lastLines(s.maskAll(s.Evidence), maxEvidence),
	}
	if created := s.created(); !created.IsZero() {
		d.ExecutionTimeBeforeFailure = &metav1.Duration{Duration: at.Sub(created)}
	}
	d.NaturalLanguageSummary = s.sentence(f, started)
	return d
}

// codeStarted: only a run that was seen to its end, or never existed, can be
// known to have run nothing.
func (s Snapshot) codeStarted(f Failure) bool {
	if s.Execution.Status.UserCodeStarted || s.Run.CodeStarted || f.Reason == v1alpha1.FailureExternallyDeleted {
		return true
	}
	return s.Run.State == RunAbsent && s.Execution.Status.PipelineRunRef != nil
}

func (s Snapshot) created() time.Time {
	if t := s.Execution.Status.StartTime; t != nil {
		return t.Time
	}
	return s.Run.Created
}

var sentences = map[v1alpha1.FailureReason]string{
	v1alpha1.FailureOOMKilled:              "ran out of memory",
	v1alpha1.FailureDeadlineExceeded:       "took longer than its timeout",
	v1alpha1.FailureForbidden:              "was not allowed",
	v1alpha1.FailureResourceExhausted:      "found no room in a quota or on a node",
	v1alpha1.FailureConfigurationError:     "cannot run as it is configured",
	v1alpha1.FailureImagePullBackOff:       "could not pull an image",
	v1alpha1.FailureBundleResolutionFailed: "could not get its bundle",
	v1alpha1.FailureTaskFailed:             "failed",
	v1alpha1.FailureEvicted:                "lost its pod",
	v1alpha1.FailureExternallyDeleted:      "lost its run, which somebody deleted",
	v1alpha1.FailureHolderLost:             "ended in a way that is not known",
	v1alpha1.FailureCatalogUnavailable:     "could not be looked up in the catalog",
	v1alpha1.FailureAuditUnavailable:       "was not started without its audit trail",
	v1alpha1.FailureCancelled:              "was cancelled",
	v1alpha1.FailureUnknown:                "failed for a reason that is not known",
}

// sentence says what failed, whether anything can have changed, and what to do.
func (s Snapshot) sentence(f Failure, started bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Workflow %s on %s %s", s.Execution.Spec.WorkflowRef.WorkflowID, s.targetName(), sentences[f.Reason])
	switch {
	case f.Step != "" && f.ExitCode != nil:
		fmt.Fprintf(&b, " in step %s of task %s (exit code %d)", f.Step, f.Task, *f.ExitCode)
	case f.Task != "":
		fmt.Fprintf(&b, " in task %s", f.Task)
	}
	if f.Message != "" && f.ExitCode == nil {
		b.WriteString(": " + cut(f.Message, 400))
	}
	if started {
		b.WriteString(". Its code had started or may have: look at the target before it runs again.")
	} else {
		b.WriteString(". None of its code had started: it may be tried again.")
	}
	return b.String()
}

func (s Snapshot) targetName() string {
	if s.Target.Key != "" {
		return s.Target.Key
	}
	return s.Execution.Spec.TargetResource
}

// cut shortens text to at most n bytes, at a character.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n-len("…")], "") + "…"
}

// lastLines keeps the last lines that fit into n bytes together.
func lastLines(lines []string, n int) []string {
	kept := len(lines)
	for left := n; kept > 0; kept-- {
		if left -= len(lines[kept-1]) + 1; left < 0 {
			break
		}
	}
	if kept == len(lines) && kept > 0 { // one line longer than all there is room for
		return []string{cut(lines[kept-1], n)}
	}
	return lines[kept:]
}
