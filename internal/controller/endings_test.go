package controller_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

func TestAuditAway(t *testing.T) {
	w := newWorld(t)
	w.run()
	first := w.submit("first") // the catalog is read once
	w.succeed(w.pipelineRun(first))
	w.settled(first)
	w.cfg.Execution.Cooldown.Duration = 0

	w.storage.fail(errDown)
	ex := w.submit("during", func(ex *v1alpha1.WorkflowExecution) { ex.Spec.TargetResource = w.ns + "/deployment/other" })
	w.succeed(w.pipelineRun(ex))
	done := w.await(ex, v1alpha1.PhaseCompleted)
	w.eventually("the target is released though the audit trail is away", func() error {
		var all v1alpha1.RemediationTargetList
		if err := w.client.List(t.Context(), &all); err != nil {
			return err
		}
		for _, rt := range all.Items {
			if rt.Spec.Target == w.ns+"/deployment.apps/other" && rt.Status.Holder != nil {
				return errors.New("it is held")
			}
		}
		return nil
	})
	c := meta.FindStatusCondition(done.Status.Conditions, v1alpha1.ConditionAuditRecorded)
	if c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonUnavailable {
		t.Errorf("AuditRecorded is %+v, want False/Unavailable", c)
	}
	if now, err := w.get(ex); err != nil || len(now.Finalizers) == 0 {
		t.Errorf("the execution may vanish though its events are owed: %v %v", now.Finalizers, err)
	}
	w.storage.fail(nil)
	w.settled(ex)
	if diff := cmp.Diff([]string{"created", "locked", "started", "completed"}, w.storage.actions(ex)); diff != "" {
		t.Errorf("trail (-want +got):\n%s", diff)
	}
}

func TestCatalogAway(t *testing.T) {
	w := newWorld(t)
	w.storage.fail(errDown)
	w.run()
	ex := w.submit("early")
	w.eventually("it says what it waits for", func() error {
		now, err := w.get(ex)
		if err == nil && (now.Status.Waiting == nil || now.Status.Waiting.Reason != string(v1alpha1.FailureCatalogUnavailable) || now.Status.Waiting.Until == nil) {
			return fmt.Errorf("waiting: %+v", now.Status.Waiting)
		}
		return err
	})
	w.storage.fail(nil)
	w.succeed(w.pipelineRun(ex))
	w.settled(ex)
}

func TestCancelARun(t *testing.T) {
	w := newWorld(t)
	w.run()
	ex := w.submit("victim")
	pr := w.pipelineRun(ex)
	tr := w.taskRun(pr)
	w.start(tr)
	w.await(ex, v1alpha1.PhaseRunning)
	w.cancel(ex, v1alpha1.CancelGraceful)
	w.stopped(pr, pipelinev1.PipelineRunSpecStatusCancelledRunFinally)
	w.cancel(ex, v1alpha1.CancelImmediate)
	w.stopped(pr, pipelinev1.PipelineRunSpecStatusCancelled)

	w.finish(pr, corev1.ConditionFalse, "Cancelled", "PipelineRun was cancelled")
	w.await(ex, v1alpha1.PhaseCancelled)
	if h := w.record().Status.Holder; h == nil {
		t.Error("the target is free though a TaskRun of the run goes on")
	}
	w.eventually("the TaskRun that goes on is asked to stop", func() error {
		if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(tr), tr); err != nil || tr.Spec.Status != "" {
			return err
		}
		return errors.New("it is not")
	})
	w.taskStatus(tr, func(st *pipelinev1.TaskRunStatus) {
		st.SetCondition(failed("TaskRunCancelled", "cancelled"))
		now := metav1.Now()
		st.CompletionTime = &now
	})
	done := w.settled(ex)
	if f := done.Status.FailureDetails; f == nil || f.Reason != v1alpha1.FailureCancelled || !f.WasExecutionFailure || !strings.Contains(f.Message, "wrong target") {
		t.Errorf("failure details: %+v", f)
	}
	if b := w.record().Status.Workflows[0].Block; b == nil || b.Failure != v1alpha1.FailureCancelled {
		t.Errorf("block is %+v, want one for Cancelled", b)
	}
}

func (w *world) cancel(ex *v1alpha1.WorkflowExecution, mode v1alpha1.CancelMode) {
	w.t.Helper()
	patch := fmt.Sprintf(`{"spec":{"cancel":{"mode":%q,"reason":"wrong target"}}}`, mode)
	w.must(w.client.Patch(w.t.Context(), ex.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(patch))))
}

func (w *world) stopped(pr *pipelinev1.PipelineRun, how pipelinev1.PipelineRunSpecStatus) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("the run is asked to stop by %s", how), func() error {
		if err := w.client.Get(w.t.Context(), client.ObjectKeyFromObject(pr), pr); err != nil {
			return err
		}
		if string(pr.Spec.Status) != string(how) {
			return fmt.Errorf("spec.status is %q", pr.Spec.Status)
		}
		return nil
	})
}

func TestOverdueRunIsStopped(t *testing.T) {
	w := newWorld(t)
	w.cfg.Execution.StopGrace.Duration = 0
	w.run()
	ex := w.submit("slow", func(ex *v1alpha1.WorkflowExecution) {
		ex.Spec.ExecutionConfig = &v1alpha1.ExecutionConfig{Timeout: &metav1.Duration{Duration: time.Second}}
	})
	pr := w.pipelineRun(ex)
	w.stopped(pr, pipelinev1.PipelineRunSpecStatusCancelled)
	w.finish(pr, corev1.ConditionFalse, "Cancelled", "PipelineRun was cancelled")
	if f := w.settled(ex).Status.FailureDetails; f == nil || f.Reason != v1alpha1.FailureDeadlineExceeded {
		t.Errorf("failure details: %+v, want DeadlineExceeded", f)
	}
}

func TestDeletingAnExecutionStopsItsRunFirst(t *testing.T) {
	w := newWorld(t)
	w.run()
	ex := w.submit("victim")
	pr := w.pipelineRun(ex)
	w.await(ex, v1alpha1.PhaseRunning)
	w.must(w.client.Delete(t.Context(), ex))
	w.stopped(pr, pipelinev1.PipelineRunSpecStatusCancelledRunFinally)
	if _, err := w.get(ex); err != nil {
		t.Errorf("the execution went before its run had stopped: %v", err)
	}
	if w.record().Status.Holder == nil {
		t.Error("the target is free before the run has stopped")
	}
	w.finish(pr, corev1.ConditionFalse, "Cancelled", "PipelineRun was cancelled")
	w.eventually("the execution is gone", func() error {
		_, err := w.get(ex)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %w", err)
	})
	if h := w.record().Status.Holder; h != nil {
		t.Errorf("the target is held by %+v", h)
	}
	if diff := cmp.Diff([]string{"created", "locked", "started", "cancelled"}, w.storage.actions(ex)); diff != "" {
		t.Errorf("trail (-want +got):\n%s", diff)
	}
}

func TestRunDeletedFromOutside(t *testing.T) {
	for _, c := range []struct {
		why    string
		delete func(w *world, pr *pipelinev1.PipelineRun)
	}{
		{"kept by our finalizer", func(w *world, pr *pipelinev1.PipelineRun) {
			w.must(w.client.Delete(w.t.Context(), pr))
		}},
		{"by force", func(w *world, pr *pipelinev1.PipelineRun) {
			w.must(w.client.Patch(w.t.Context(), pr, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))))
			w.must(client.IgnoreNotFound(w.client.Delete(w.t.Context(), pr)))
		}},
	} {
		t.Run(c.why, func(t *testing.T) {
			w := newWorld(t)
			w.run()
			ex := w.submit("victim")
			pr := w.pipelineRun(ex)
			w.await(ex, v1alpha1.PhaseRunning)
			c.delete(w, pr)
			done := w.settled(ex)
			if f := done.Status.FailureDetails; f == nil || f.Reason != v1alpha1.FailureExternallyDeleted || f.RetrySafe {
				t.Errorf("failure details: %+v, want ExternallyDeleted and not safe to retry", f)
			}
			w.eventually("the run is gone", func() error {
				err := w.client.Get(t.Context(), client.ObjectKeyFromObject(pr), pr)
				if apierrors.IsNotFound(err) {
					return nil
				}
				return fmt.Errorf("finalizers %v: %w", pr.Finalizers, err)
			})
		})
	}
}

func TestHolderRemovedByForce(t *testing.T) {
	w := newWorld(t)
	w.run()
	ex := w.submit("victim")
	pr := w.pipelineRun(ex)
	now := w.await(ex, v1alpha1.PhaseRunning)
	w.must(w.client.Delete(t.Context(), now))
	w.must(w.client.Patch(t.Context(), now, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))))
	w.eventually("the run is asked to stop", func() error {
		w.must(w.client.Get(t.Context(), client.ObjectKeyFromObject(pr), pr))
		if pr.Spec.Status == "" {
			return errors.New("it is not")
		}
		return nil
	})
	w.finish(pr, corev1.ConditionFalse, "Cancelled", "PipelineRun was cancelled")
	w.eventually("the target is free", func() error {
		if h := w.record().Status.Holder; h != nil {
			return fmt.Errorf("held by %s", h.Name)
		}
		return nil
	})
	if o := w.record().Status.Workflows[0].LastOutcome; o == nil || o.Phase != v1alpha1.PhaseCancelled {
		t.Errorf("outcome is %+v, want Cancelled", o)
	}
}

func TestInvalidCreatesNothing(t *testing.T) {
	w := newWorld(t)
	w.run()
	for name, c := range map[string]struct {
		edit func(*v1alpha1.WorkflowExecution)
		says string
	}{
		"kind":       {func(ex *v1alpha1.WorkflowExecution) { ex.Spec.TargetResource = w.ns + "/gizmo/api" }, "no kind gizmo"},
		"workflow":   {func(ex *v1alpha1.WorkflowExecution) { ex.Spec.WorkflowRef.WorkflowID = "nosuch" }, "the catalog has no workflow nosuch@1.0.0"},
		"image":      {func(ex *v1alpha1.WorkflowExecution) { ex.Spec.WorkflowRef.ContainerImage = "evil/image:v1" }, "may not run without being registered"},
		"undeclared": {func(ex *v1alpha1.WorkflowExecution) { ex.Spec.Parameters = map[string]string{"PASSWORD": "hunter2"} }, "declares no parameter PASSWORD"},
		"value":      {func(ex *v1alpha1.WorkflowExecution) { ex.Spec.Parameters = map[string]string{"MODE": "hunter2"} }, "must be one of: fast, slow"},
		"account": {func(ex *v1alpha1.WorkflowExecution) {
			ex.Spec.ExecutionConfig = &v1alpha1.ExecutionConfig{ServiceAccountName: "cluster-admin"}
		}, "does not declare the service account"},
		"secret": {func(ex *v1alpha1.WorkflowExecution) { ex.Spec.SecretRefs = []string{"registry-pull"} }, "does not declare the Secret"},
	} {
		ex := w.settled(w.submit(name, c.edit))
		f := ex.Status.FailureDetails
		if f == nil || !strings.Contains(f.Message, c.says) || f.WasExecutionFailure {
			t.Errorf("%s: failure details %+v, want %q", name, f, c.says)
		}
		if strings.Contains(fmt.Sprint(ex.Status), "hunter2") {
			t.Errorf("%s: status shows the value of a parameter: %+v", name, ex.Status)
		}
	}
	if live := w.live(); len(live) > 0 {
		t.Errorf("%d runs were created", len(live))
	}
	var records v1alpha1.RemediationTargetList
	w.must(w.client.List(t.Context(), &records))
	for _, rt := range records.Items {
		if strings.HasPrefix(rt.Spec.Target, w.ns+"/") {
			t.Errorf("a record was made for %s", rt.Spec.Target)
		}
	}
}

func TestStrangersRunIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	ex := w.submit("victim")
	theirs := &pipelinev1.PipelineRun{}
	theirs.Namespace, theirs.Name = v1alpha1.WorkflowNamespace, runNameOf(ex)
	theirs.Spec.PipelineRef = &pipelinev1.PipelineRef{Name: "theirs"}
	w.must(w.client.Create(t.Context(), theirs))
	w.run()
	done := w.settled(ex)
	if f := done.Status.FailureDetails; f == nil || f.Reason != v1alpha1.FailureConfigurationError || !strings.Contains(f.Message, "belongs to somebody else") {
		t.Errorf("failure details: %+v", f)
	}
	w.must(w.client.Get(t.Context(), client.ObjectKeyFromObject(theirs), theirs))
	if theirs.Spec.Status != "" || theirs.DeletionTimestamp != nil || len(theirs.Labels) > 0 {
		t.Errorf("the stranger's run was touched: %+v", theirs.ObjectMeta)
	}
}
