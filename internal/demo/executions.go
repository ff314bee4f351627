package demo

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/environment/report"
	"kubernaut.ai/kubernaut/internal/follow"
	"kubernaut.ai/kubernaut/internal/workflow"
	"kubernaut.ai/kubernaut/workflows"
)

// failing is a workflow that fails on purpose; it is no remedy, and not shipped.
//
//go:embed always-fails/*.yaml
var failing embed.FS

// What the failing workflow ends with.
const (
	failingStep = "probe"
	failingCode = 42
	failingLine = "error: the payment provider does not answer"
)

// register publishes the workflows of the demonstration.
func register(ctx context.Context, s *stage) error {
	for _, w := range []struct {
		files  fs.FS
		folder string
	}{{workflows.Shipped, "increase-memory"}, {failing, "always-fails"}} {
		folder, err := fs.Sub(w.files, w.folder)
		if err != nil {
			return err
		}
		read, err := workflow.Read(folder)
		if err != nil {
			return fmt.Errorf("workflow %s: %w", w.folder, err)
		}
		done, err := workflow.Publish(ctx, s.cluster, read, func(note string) { s.say("  %s", s.IO.OutPaint.Faint(note)) })
		if err != nil {
			return fmt.Errorf("workflow %s: %w", w.folder, err)
		}
		state := "was registered before"
		if done.New {
			state = "is registered"
		}
		s.shown("%s@%s %s, as %s", done.Workflow.WorkflowName, done.Workflow.Version, state, done.Workflow.ContainerDigest)
	}
	return nil
}

// heal runs the remedy. Right after an earlier demonstration it waits until the
// target may be touched again.
func heal(ctx context.Context, s *stage) error {
	ex := s.execution("increase-memory", map[string]string{"MEMORY_LIMIT": goodLimit})
	ex.Spec.OnBusy = v1alpha1.OnBusyWait
	ex.Spec.Rationale = "payment-api is OOM-killed"
	ended, err := s.play(ctx, ex)
	if err != nil {
		return err
	}
	if ended.Status.Phase != v1alpha1.PhaseCompleted {
		return fmt.Errorf("execution %s ended as %s, not as Completed", ended.Name, ended.Status.Phase)
	}
	if err := s.healthy(ctx); err != nil {
		return err
	}
	s.shown("it is healthy: %s pods ready with a limit of %s", "1 of 1", goodLimit)
	s.shown("%s", healedAfter(s.Now().Sub(s.began), s.report))
	return nil
}

// healLimit is how long it may take from the start of a demonstration, for which
// nothing has to be compiled, until the Deployment is healthy.
const healLimit = 90 * time.Second

func healedAfter(took time.Duration, r report.Report) string {
	text := fmt.Sprintf("healed %s after the start", took.Round(time.Second))
	if slices.ContainsFunc(r.Steps, func(step report.Step) bool { return strings.HasPrefix(step.Name, "build-") && step.Seconds > 1 }) {
		return text + fmt.Sprintf(", with what had to be compiled (limit without: %s)", healLimit)
	}
	return text + fmt.Sprintf(" (limit %s)", healLimit)
}

// healAgain runs the remedy once more: a target that was just remedied is left
// alone for a while.
func healAgain(ctx context.Context, s *stage) error {
	ended, err := s.play(ctx, s.execution("increase-memory", map[string]string{"MEMORY_LIMIT": goodLimit}))
	if err != nil {
		return err
	}
	d := ended.Status.SkipDetails
	if ended.Status.Phase != v1alpha1.PhaseSkipped || d == nil || d.Reason != v1alpha1.SkipRecentlyRemediated {
		return fmt.Errorf("execution %s ended as %s, not as Skipped because of RecentlyRemediated", ended.Name, ended.Status.Phase)
	}
	if d.NextAllowedTime == nil {
		return fmt.Errorf("execution %s was skipped and does not say until when", ended.Name)
	}
	s.shown("it is let through again in %s", d.NextAllowedTime.Sub(s.Now()).Round(time.Second))
	return nil
}

// fail runs the workflow that fails, and shows where and how it did.
func fail(ctx context.Context, s *stage) error {
	if err := s.clearBlock(ctx, "always-fails"); err != nil {
		return err
	}
	ended, err := s.play(ctx, s.execution("always-fails", nil))
	if err != nil {
		return err
	}
	d := ended.Status.FailureDetails
	switch {
	case ended.Status.Phase != v1alpha1.PhaseFailed || d == nil:
		return fmt.Errorf("execution %s ended as %s, not as Failed", ended.Name, ended.Status.Phase)
	case d.FailedStepName != failingStep || d.ExitCode == nil || *d.ExitCode != failingCode:
		return fmt.Errorf("execution %s failed at %q, not at step %s with exit code %d", ended.Name, follow.Where(d), failingStep, failingCode)
	case !strings.Contains(strings.Join(d.Evidence, "\n"), failingLine):
		return fmt.Errorf("execution %s kept the last lines %q, without %q", ended.Name, d.Evidence, failingLine)
	}
	s.shown("the failure names its %s, and keeps the last lines", follow.Where(d))
	return nil
}

// execution makes one for the demonstration's target.
func (s *stage) execution(workflow string, parameters map[string]string) *v1alpha1.WorkflowExecution {
	return &v1alpha1.WorkflowExecution{
		ObjectMeta: metav1.ObjectMeta{GenerateName: workload + "-" + workflow + "-", Namespace: namespace},
		Spec: v1alpha1.WorkflowExecutionSpec{
			WorkflowRef:           v1alpha1.WorkflowRef{WorkflowID: workflow, Version: "1.0.0"},
			TargetResource:        target,
			Parameters:            parameters,
			RemediationRequestRef: &v1alpha1.RemediationRequestRef{Name: s.caseID},
		},
	}
}

// play creates ex, shows how it goes, and returns it when it has ended and
// nothing is left to do for it.
func (s *stage) play(ctx context.Context, ex *v1alpha1.WorkflowExecution) (*v1alpha1.WorkflowExecution, error) {
	if err := s.cluster.Client.Create(ctx, ex); err != nil {
		return nil, connect.Explain(fmt.Errorf("creating an execution of %s: %w", ex.Spec.WorkflowRef.WorkflowID, err))
	}
	s.say("WorkflowExecution %s: %s on %s", s.IO.OutPaint.Accent(ex.Name), ex.Spec.WorkflowRef.WorkflowID, ex.Spec.TargetResource)
	defer s.heart.doing("following execution " + ex.Name)()
	ended, err := follow.Execution(ctx, s.cluster, client.ObjectKeyFromObject(ex), follow.Printer(s.IO.Out, s.IO.OutPaint, s.Now()))
	if err != nil {
		return nil, connect.Explain(err)
	}
	s.played = append(s.played, ended)
	return ended, s.settled(ctx, ended)
}

// settled waits until nothing is left to do for ex: its target is free, and the
// audit trail has acknowledged all its events.
func (s *stage) settled(ctx context.Context, ex *v1alpha1.WorkflowExecution) error {
	list := &v1alpha1.WorkflowExecutionList{}
	return s.until(ctx, expected{
		what: "waiting until the target is free and the audit trail of " + ex.Name + " complete", list: list, within: time.Minute,
		where: []client.ListOption{client.InNamespace(namespace), client.MatchingFields{"metadata.name": ex.Name}},
		holds: func() (bool, string) {
			if len(list.Items) != 1 {
				return false, "the execution is gone"
			}
			return !slices.Contains(list.Items[0].Finalizers, v1alpha1.ExecutionFinalizer), unsettled(&list.Items[0])
		},
	})
}

// unsettled says what is left to do for ex.
func unsettled(ex *v1alpha1.WorkflowExecution) string {
	text := "nothing is said about its audit events"
	if c := meta.FindStatusCondition(ex.Status.Conditions, v1alpha1.ConditionAuditRecorded); c != nil {
		text = fmt.Sprintf("AuditRecorded is %s: %s %s", c.Status, c.Reason, c.Message)
	}
	if w := ex.Status.Waiting; w != nil {
		text += "; waiting for " + w.For + ": " + w.Message
	}
	return text
}
