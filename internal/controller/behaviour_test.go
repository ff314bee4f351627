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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/engine/enginetest"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// stands waits until an execution waits at a place of the queue for somebody.
func (w *world) stands(ex *v1alpha1.WorkflowExecution, place int32, behind *v1alpha1.WorkflowExecution) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%s stands at place %d behind %s", ex.Name, place, behind.Name), func() error {
		now, err := w.get(ex)
		if err != nil {
			return err
		}
		wait := now.Status.Waiting
		if wait == nil || wait.Position != place || wait.For != w.ns+"/"+behind.Name || wait.Reason != string(v1alpha1.SkipResourceBusy) || wait.Until == nil {
			return fmt.Errorf("phase %s, waiting %+v", now.Status.Phase, wait)
		}
		return nil
	})
}

// TestTheQueueOfATarget: who waits is told for whom and at which place, also by a
// controller that has just started; whoever leaves lets the others move up, and the
// release wakes the first.
func TestTheQueueOfATarget(t *testing.T) {
	w := newWorld(t)
	w.cfg.Execution.Cooldown.Duration = 0
	stop := w.run()
	holder := w.submit("holder")
	pr := w.pipelineRun(holder)
	older := func(seconds int) func(*v1alpha1.WorkflowExecution) { // creation times are whole seconds; UIDs decide within one
		return func(ex *v1alpha1.WorkflowExecution) {
			ex.Spec.MaxWait = &metav1.Duration{Duration: time.Duration(seconds) * time.Minute}
		}
	}
	first := w.submit("first", waiting, older(60))
	w.stands(first, 1, holder)
	w.nextSecond(first)
	second := w.submit("second", waiting, older(60))
	w.stands(second, 2, holder)
	w.nextSecond(second)
	third := w.submit("third", waiting, older(60))
	w.stands(third, 3, holder)

	stop()
	w.run()
	w.cancel(second, v1alpha1.CancelGraceful)
	w.await(second, v1alpha1.PhaseCancelled) // at once, though the target is held
	w.stands(third, 2, holder)
	w.stands(first, 1, holder)

	w.succeed(pr)
	w.settled(holder)
	w.succeed(w.pipelineRun(first))
	if got := w.settled(first); got.Status.Phase != v1alpha1.PhaseCompleted {
		t.Errorf("first is %s", got.Status.Phase)
	}
	w.succeed(w.pipelineRun(third))
	if got := w.settled(third); got.Status.Phase != v1alpha1.PhaseCompleted {
		t.Errorf("third is %s", got.Status.Phase)
	}
}

// nextSecond waits until what is created now is younger than ex.
func (w *world) nextSecond(ex *v1alpha1.WorkflowExecution) {
	w.t.Helper()
	w.eventually("a second has passed", func() error {
		if time.Now().Truncate(time.Second).After(ex.CreationTimestamp.Time) {
			return nil
		}
		return errors.New("not yet")
	})
}

func TestNobodyWaitsLongerThanItSays(t *testing.T) {
	w := newWorld(t)
	w.run()
	holder := w.submit("holder")
	pr := w.pipelineRun(holder)
	ex := w.submit("impatient", waiting, func(ex *v1alpha1.WorkflowExecution) { ex.Spec.MaxWait = &metav1.Duration{Duration: 2 * time.Second} })
	w.stands(ex, 1, holder)
	done := w.settled(ex)
	if s := done.Status.SkipDetails; s == nil || s.Reason != v1alpha1.SkipResourceBusy || !strings.Contains(s.Message, "waited 2s") || s.ConflictingWorkflow.Name != w.ns+"/holder" {
		t.Errorf("phase %s, skip %+v, want ResourceBusy after 2s", done.Status.Phase, s)
	}
	w.succeed(pr)
	w.settled(holder)
}

// TestReferencesAreCheckedBeforeTheStart: a Secret that is not there, or not for
// workflows, fails the execution before a target is locked; one that is, is bound.
func TestReferencesAreCheckedBeforeTheStart(t *testing.T) {
	w := newWorld(t)
	w.storage.register(datastorage.Workflow{WorkflowName: "heal", Version: "1.0.0", ContainerImage: "registry/heal:v1", ExecutionEngine: "tekton",
		Status: datastorage.WorkflowStatusActive, Secrets: []string{"key", "strange", "absent"}, ConfigMaps: []string{"map"}})
	w.forWorkflows(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "key"}, StringData: map[string]string{"k": "open-sesame-42"}})
	w.forWorkflows(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "map"}})
	strange := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "strange", Namespace: v1alpha1.WorkflowNamespace}}
	w.must(w.client.Create(t.Context(), strange))
	w.run()
	secrets := func(names ...string) func(*v1alpha1.WorkflowExecution) {
		return func(ex *v1alpha1.WorkflowExecution) { ex.Spec.SecretRefs = names }
	}
	for name, want := range map[string]v1alpha1.FailureReason{"absent": v1alpha1.FailureConfigurationError, "strange": v1alpha1.FailureForbidden} {
		ex := w.settled(w.submit(name, secrets("key", name)))
		if f := ex.Status.FailureDetails; f == nil || f.Reason != want || !strings.Contains(f.Message, name) || ex.Status.Target.LockedAt != nil {
			t.Errorf("%s: %+v, want %s before anything is locked", name, f, want)
		}
	}
	ex := w.submit("bound", secrets("key"), func(ex *v1alpha1.WorkflowExecution) { ex.Spec.ConfigMapRefs = []string{"map"} })
	pr := w.pipelineRun(ex)
	var bound []string
	for _, b := range pr.Spec.Workspaces {
		switch {
		case b.Secret != nil:
			bound = append(bound, b.Name+"=secret/"+b.Secret.SecretName)
		case b.ConfigMap != nil:
			bound = append(bound, b.Name+"=configmap/"+b.ConfigMap.Name)
		}
	}
	if diff := cmp.Diff([]string{"key=secret/key", "map=configmap/map"}, bound); diff != "" {
		t.Errorf("workspaces (-want +got):\n%s", diff)
	}
	w.finish(pr, corev1.ConditionFalse, "PipelineValidationFailed", "the step said open-sesame-42")
	if f := w.settled(ex).Status.FailureDetails; f == nil || strings.Contains(fmt.Sprint(f), "open-sesame") || !strings.Contains(f.Message, "***") {
		t.Errorf("a value of the Secret is told: %+v", f)
	}
}

// TestADigestIsAllThatRuns: the image of a reference with a digest is that, whatever
// its tag says.
func TestADigestIsAllThatRuns(t *testing.T) {
	w := newWorld(t)
	w.cfg.Execution.AllowUnregistered = true
	w.run()
	digest := "sha256:" + fmt.Sprintf("%064d", 7)
	ex := w.submit("pinned", func(ex *v1alpha1.WorkflowExecution) {
		ex.Spec.WorkflowRef = v1alpha1.WorkflowRef{WorkflowID: "mine", Version: "0.1.0", ContainerImage: "host:5000/mine:latest", ContainerDigest: digest}
	})
	pr := w.pipelineRun(ex)
	for _, p := range pr.Spec.PipelineRef.Params {
		if p.Name == "bundle" && p.Value.StringVal != "host:5000/mine@"+digest {
			t.Errorf("the run uses %s", p.Value.StringVal)
		}
	}
	if st := w.await(ex, v1alpha1.PhaseRunning).Status.Workflow; st.Image != "host:5000/mine@"+digest || st.Registered || st.ServiceAccountName != v1alpha1.DefaultServiceAccount {
		t.Errorf("status.workflow is %+v", st)
	}
	w.succeed(pr)
	w.settled(ex)
}

// TestOrphansOfARemovedRun: a run that is removed by force leaves a TaskRun and a
// pod that go on; the target is free when they have stopped, not before.
func TestOrphansOfARemovedRun(t *testing.T) {
	w := newWorld(t)
	w.run()
	play := enginetest.NewTekton(w.client)
	ex := w.submit("victim")
	pr := w.pipelineRun(ex)
	w.await(ex, v1alpha1.PhaseRunning)
	tr := play.Begin(t, pr)
	w.latched(ex)
	play.Play(t, engine.RefFor(ex), enginetest.IsRemoved)
	w.eventually("the TaskRun that goes on is asked to stop", func() error {
		if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(tr), tr); err != nil || tr.Spec.Status != "" {
			return err
		}
		return errors.New("it is not")
	})
	w.eventually("it tells that it waits for them", func() error {
		now, err := w.get(ex)
		if wait := now.Status.Waiting; err == nil && (wait == nil || wait.Reason != v1alpha1.ReasonStopping || !strings.Contains(wait.For, tr.Name)) {
			return fmt.Errorf("waiting %+v", wait)
		}
		return err
	})
	if w.record().Status.Holder == nil {
		t.Error("the target is free while parts of its run go on")
	}
	play.Play(t, engine.RefFor(ex), enginetest.Stops)
	if f := w.settled(ex).Status.FailureDetails; f == nil || f.Reason != v1alpha1.FailureExternallyDeleted || f.RetrySafe {
		t.Errorf("failure details: %+v", f)
	}
	if h := w.record().Status.Holder; h != nil {
		t.Errorf("the target is held by %+v", h)
	}
}

// TestAPodThatTektonNeverKnewOf: the answer to its creation was lost, Tekton gave up,
// and nobody but us will ever end it.
func TestAPodThatTektonNeverKnewOf(t *testing.T) {
	w := newWorld(t)
	w.run()
	ex := w.submit("victim")
	pr := w.pipelineRun(ex)
	tr := enginetest.NewTekton(w.client).Begin(t, pr)
	its := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: tr.Namespace, Name: tr.Status.PodName}}
	w.taskStatus(tr, func(st *pipelinev1.TaskRunStatus) {
		st.PodName, st.Steps = "", nil
		st.SetCondition(failed("PodCreationFailed", "failed to create task run pod: etcdserver: request timed out"))
	})
	w.finish(pr, corev1.ConditionFalse, "Failed", "Tasks Completed: 1 (Failed: 1, Cancelled 0), Skipped: 0")
	w.eventually("its pod is deleted", func() error {
		if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(its), its); err != nil || its.DeletionTimestamp != nil {
			return client.IgnoreNotFound(err)
		}
		return errors.New("it goes on")
	})
	w.must(client.IgnoreNotFound(w.client.Delete(t.Context(), its, client.GracePeriodSeconds(0)))) // as the kubelet does
	if done := w.settled(ex); done.Status.Phase != v1alpha1.PhaseFailed {
		t.Errorf("it is %s, want Failed", done.Status.Phase)
	}
	if h := w.record().Status.Holder; h != nil {
		t.Errorf("the target is held by %+v", h)
	}
}

// TestYesIsLatched: that code has started is never taken back, whatever the run
// says later; and a run that says no more than it did has lost something.
func TestYesIsLatched(t *testing.T) {
	w := newWorld(t)
	w.run()
	play := enginetest.NewTekton(w.client)
	ex := w.submit("victim")
	pr := w.pipelineRun(ex)
	tr := play.Begin(t, pr)
	w.latched(ex)
	// The TaskRun and its pod are made again, as Tekton does when somebody deletes them by force.
	w.must(w.client.Delete(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: tr.Namespace, Name: tr.Name + "-pod"}}, client.GracePeriodSeconds(0)))
	w.must(w.client.Delete(t.Context(), tr))
	w.stopped(pr, "Cancelled")
	w.finish(pr, corev1.ConditionFalse, "Cancelled", "PipelineRun was cancelled")
	done := w.settled(ex)
	if f := done.Status.FailureDetails; f == nil || f.Reason != v1alpha1.FailureExternallyDeleted || f.RetrySafe || !done.Status.UserCodeStarted {
		t.Errorf("failure details: %+v, code started %t", f, done.Status.UserCodeStarted)
	}
}
