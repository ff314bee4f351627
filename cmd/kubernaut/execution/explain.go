package execution

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/follow"
)

// NewExplain returns the command that tells where an execution stands.
func NewExplain(f *cli.Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "explain NAME",
		Short: "Tell what an execution waits for, for whom, why and until when",
		Long:  "Explain tells in sentences where an execution stands: what it waits for, for whom, why and\nuntil when; or how it ended, what had happened by then, and what to do next.",
		Args:  cli.ExactArgs("the NAME of an execution"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return explain(cmd.Context(), f, args[0])
		},
	}
}

func explain(ctx context.Context, f *cli.Factory, name string) error {
	c, err := f.Connect(ctx)
	if err != nil {
		return err
	}
	ex, err := read(ctx, c, name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f.IO.Out, strings.Join(story(ex, f.Now()), "\n"))
	return err
}

// story tells an execution in sentences.
func story(ex *v1alpha1.WorkflowExecution, now time.Time) []string {
	lines := []string{fmt.Sprintf("%s/%s runs workflow %s@%s on %s.", ex.Namespace, ex.Name,
		ex.Spec.WorkflowRef.WorkflowID, ex.Spec.WorkflowRef.Version, ex.Spec.TargetResource)}
	if ex.Spec.CreatedBy != "" {
		lines = append(lines, fmt.Sprintf("It was created by %s %s ago.", ex.Spec.CreatedBy, age(now, ex.CreationTimestamp.Time)))
	}
	if follow.Ended(ex) {
		return append(lines, ending(ex, now)...)
	}
	return append(lines, standing(ex, now)...)
}

// standing tells of an execution that has not ended.
func standing(ex *v1alpha1.WorkflowExecution, now time.Time) []string {
	s := ex.Status
	var lines []string
	if w := s.Waiting; w != nil {
		lines = append(lines, waitingFor(w, now)...)
	}
	switch {
	case s.Phase == "":
		lines = append(lines, "No controller has looked at it yet; see: kubectl -n "+v1alpha1.SystemNamespace+" get deployment kubernaut-controller")
	case s.PipelineRunRef != nil:
		lines = append(lines, running(ex, now)...)
	case s.Waiting == nil:
		lines = append(lines, "It waits for nothing: it is about to begin.")
	}
	if c := ex.Spec.Cancel; c != nil {
		lines = append(lines, fmt.Sprintf("It is being cancelled (%s): %s", c.Mode, c.Reason))
	}
	return append(lines, unrecorded(ex)...)
}

func waitingFor(w *v1alpha1.Waiting, now time.Time) []string {
	lines := []string{fmt.Sprintf("It has been waiting for %s, because of %s: %s", age(now, w.Since.Time), w.Reason, w.Message)}
	if w.For != "" {
		line := "It waits for " + w.For
		if w.Position > 0 {
			line += fmt.Sprintf(", as number %d of the queue", w.Position)
		}
		lines = append(lines, line+".")
	}
	if w.Until != nil {
		lines = append(lines, fmt.Sprintf("It waits until %s at the latest (%s from now).",
			w.Until.Local().Format(time.DateTime), rounded(w.Until.Sub(now))))
	}
	return lines
}

func running(ex *v1alpha1.WorkflowExecution, now time.Time) []string {
	ref, run := ex.Status.PipelineRunRef, ex.Status.PipelineRunStatus
	kind, engine := "PipelineRun", "Tekton"
	if ex.Engine() == "job" {
		kind, engine = "Job", "Kubernetes"
	}
	line := fmt.Sprintf("Its run is %s %s/%s", kind, ref.Namespace, ref.Name)
	if ex.Status.StartTime != nil {
		line += ", started " + age(now, ex.Status.StartTime.Time) + " ago"
	}
	if run != nil {
		line += fmt.Sprintf("; %d of %d tasks are done", run.CompletedTasks, run.TotalTasks)
		if run.Message != "" {
			line += "; " + engine + " says: " + run.Message
		}
	}
	lines := append([]string{line + "."}, deadline(ex)...)
	return append(lines, fmt.Sprintf("Watch it: kubernaut logs -f %s -n %s", ex.Name, ex.Namespace))
}

// deadline tells until when a run may last. What holds for an execution that does
// not say it itself is the controller's to know.
func deadline(ex *v1alpha1.WorkflowExecution) []string {
	c, start := ex.Spec.ExecutionConfig, ex.Status.StartTime
	if c == nil || c.Timeout == nil || start == nil {
		return nil
	}
	return []string{fmt.Sprintf("It is stopped when it has not ended by %s.", start.Add(c.Timeout.Duration).Local().Format(time.DateTime))}
}

// ending tells how an execution ended and what to do next.
func ending(ex *v1alpha1.WorkflowExecution, now time.Time) []string {
	s := ex.Status
	at := ""
	if s.CompletionTime != nil {
		at = " " + age(now, s.CompletionTime.Time) + " ago"
	}
	lines := []string{fmt.Sprintf("It ended%s: %s.", at, s.Phase)}
	if d := s.SkipDetails; d != nil {
		lines = append(lines, fmt.Sprintf("It was skipped because of %s: %s", d.Reason, d.Message))
		lines = append(lines, again(ex, d, now)...)
	}
	if d := s.FailureDetails; d != nil {
		lines = append(lines, failure(d)...)
	}
	if w := s.Waiting; w != nil && slices.Contains(ex.Finalizers, v1alpha1.ExecutionFinalizer) {
		lines = append(lines, "Its target is still held: "+w.Message)
	}
	lines = append(lines, unrecorded(ex)...)
	return append(lines, fmt.Sprintf("Its audit trail: kubernaut audit list --execution %s -n %s", ex.Name, ex.Namespace))
}

func again(ex *v1alpha1.WorkflowExecution, d *v1alpha1.SkipDetails, now time.Time) []string {
	switch {
	case d.BlockID != "":
		return []string{fmt.Sprintf("It runs again when somebody clears the block: kubernaut unblock %s --workflow %s --reason WHY",
			ex.Spec.TargetResource, ex.Spec.WorkflowRef.WorkflowID)}
	case d.NextAllowedTime != nil && d.NextAllowedTime.After(now):
		return []string{fmt.Sprintf("The same is let through from %s on (%s from now).",
			d.NextAllowedTime.Local().Format(time.DateTime), rounded(d.NextAllowedTime.Sub(now)))}
	case d.NextAllowedTime != nil:
		return []string{"The same is let through now."}
	}
	return nil
}

func failure(d *v1alpha1.FailureDetails) []string {
	lines := []string{fmt.Sprintf("%s: %s", d.Reason, d.NaturalLanguageSummary)}
	if where := follow.Where(d); where != "" {
		lines = append(lines, "Where: "+where+".")
	}
	if d.Message != "" {
		lines = append(lines, "What was said: "+d.Message)
	}
	for _, e := range d.Evidence {
		lines = append(lines, "  > "+e)
	}
	switch {
	case d.RetrySafe:
		lines = append(lines, "None of the workflow's code had started: running it again cannot do anything twice.")
	case d.WasExecutionFailure:
		lines = append(lines, "Code of the workflow had started: look at the target before it is run again.")
	}
	return lines
}

// unrecorded tells whether the audit trail still owes events.
func unrecorded(ex *v1alpha1.WorkflowExecution) []string {
	c := meta.FindStatusCondition(ex.Status.Conditions, v1alpha1.ConditionAuditRecorded)
	if c == nil || c.Status == metav1.ConditionTrue {
		return nil
	}
	return []string{strings.Join(slices.DeleteFunc([]string{"Its audit events are not all acknowledged yet", c.Reason, c.Message},
		func(s string) bool { return s == "" }), ": ")}
}
