package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// deployment makes the target of a spec: one container with a memory limit, and
// no replica, so that a rollout is done as soon as it is observed.
func (w *world) deployment(name string) *appsv1.Deployment {
	w.Helper()
	labels := map[string]string{"app": name}
	none := int32(0)
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace},
		Spec: appsv1.DeploymentSpec{
			Replicas: &none,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "app", Image: "kubernaut.local/never-started:1",
					Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}},
				}}},
			},
		},
	}
	w.create(d)
	return d
}

func limit(memory string) func(*v1alpha1.WorkflowExecution) {
	return func(e *v1alpha1.WorkflowExecution) {
		e.Spec.Parameters = map[string]string{"MEMORY_LIMIT": memory}
	}
}

func password(value string) func(*v1alpha1.WorkflowExecution) {
	return func(e *v1alpha1.WorkflowExecution) { e.Spec.Parameters = map[string]string{"PASSWORD": value} }
}

func (w *world) run(e *v1alpha1.WorkflowExecution) *tekton.PipelineRun {
	w.Helper()
	if e.Status.PipelineRunRef == nil {
		w.Fatalf("execution %s names no run", e.Name)
	}
	var run tekton.PipelineRun
	key := client.ObjectKey{Namespace: e.Status.PipelineRunRef.Namespace, Name: e.Status.PipelineRunRef.Name}
	if err := w.Client.Get(w.ctx, key, &run); err != nil {
		w.Fatalf("reading the run of %s: %v", e.Name, err)
	}
	return &run
}

func TestARemedyChangesItsTarget(t *testing.T) {
	t.Parallel()
	w := spec(t)
	d := w.deployment("app")

	e := w.untilRecorded(w.execute("increase-memory", w.target("app"), limit("64Mi")))

	if e.Status.Phase != v1alpha1.PhaseCompleted {
		t.Fatalf("phase %s: %+v", e.Status.Phase, e.Status.FailureDetails)
	}
	if e.Status.StartTime == nil || e.Status.CompletionTime == nil || e.Status.Duration == nil {
		t.Errorf("start %v, completion %v, duration %v: want all", e.Status.StartTime, e.Status.CompletionTime, e.Status.Duration)
	}
	if err := w.Client.Get(w.ctx, client.ObjectKeyFromObject(d), d); err != nil {
		t.Fatal(err)
	}
	if got := d.Spec.Template.Spec.Containers[0].Resources.Limits.Memory().String(); got != "64Mi" {
		t.Errorf("the memory limit is %s, want 64Mi", got)
	}
	if got := types(w.trail(e)); got != "created locked started completed" {
		t.Errorf("the trail is %q", got)
	}
	if !strings.Contains(e.Status.Workflow.Image, "@sha256:") {
		t.Errorf("the run used %q, want it pinned by digest", e.Status.Workflow.Image)
	}
}

func TestAnExecutionCompletesWithinItsTimeout(t *testing.T) {
	t.Parallel()
	w := spec(t)
	w.deployment("app")
	const sla = 2 * time.Minute
	e := w.untilRecorded(w.execute("nothing", w.target("app"), func(e *v1alpha1.WorkflowExecution) {
		e.Spec.ExecutionConfig = &v1alpha1.ExecutionConfig{Timeout: &metav1.Duration{Duration: sla}}
	}))
	if e.Status.Phase != v1alpha1.PhaseCompleted {
		t.Fatalf("phase %s: %+v", e.Status.Phase, e.Status.FailureDetails)
	}
	if took := e.Status.CompletionTime.Sub(e.Status.StartTime.Time); took <= 0 || took > sla {
		t.Errorf("it took %s", took)
	}
	if got := w.run(e).Spec.Timeouts; got == nil || got.Pipeline == nil || got.Pipeline.Duration != sla {
		t.Errorf("the run's timeouts are %+v, want %s", got, sla)
	}
}

// A run can be over without saying when: its execution ends all the same, and
// says when.
func TestARunThatIsOverWithoutACompletionTimeEndsItsExecution(t *testing.T) {
	t.Parallel()
	w := spec(t)
	w.deployment("app")
	e := w.execute("lasts", w.target("app"))
	e = w.untilExecution(e, func(e *v1alpha1.WorkflowExecution) bool { return ended(e) || e.Status.UserCodeStarted })

	run := w.run(e)
	failed := []byte(`{"status":{"completionTime":null,"conditions":[{"type":"Succeeded","status":"False","reason":"Failed","message":"over","lastTransitionTime":"` +
		time.Now().UTC().Format(time.RFC3339) + `"}]}}`)
	if err := w.Client.Status().Patch(w.ctx, run, client.RawPatch("application/merge-patch+json", failed)); err != nil {
		t.Fatal(err)
	}
	var tasks tekton.TaskRunList // Tekton stops looking at them: they would last
	if err := w.Client.List(w.ctx, &tasks, client.InNamespace(run.Namespace), client.MatchingLabels{"tekton.dev/pipelineRun": run.Name}); err != nil {
		t.Fatal(err)
	}
	for i := range tasks.Items {
		if err := w.Client.Patch(w.ctx, &tasks.Items[i], client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"status":"TaskRunCancelled"}}`))); err != nil {
			t.Fatal(err)
		}
	}

	e = w.untilRecorded(e)
	if e.Status.Phase != v1alpha1.PhaseFailed || e.Status.CompletionTime == nil {
		t.Errorf("phase %s, completed %v; want Failed, and when", e.Status.Phase, e.Status.CompletionTime)
	}
	w.untilGone(e)
}

func TestStepImagesComeFromThePrivateRegistry(t *testing.T) {
	t.Parallel()
	w := spec(t)
	w.deployment("app")
	e := w.untilPhase(w.execute("increase-memory", w.target("app"), limit("64Mi")), v1alpha1.PhaseCompleted)

	var pods corev1.PodList
	err := w.Client.List(w.ctx, &pods, client.InNamespace(v1alpha1.WorkflowNamespace),
		client.MatchingLabels{"tekton.dev/pipelineRun": w.run(e).Name})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != 1 {
		t.Fatalf("the run has %d pods, want 1", len(pods.Items))
	}
	pulled := false
	for _, c := range pods.Items[0].Status.ContainerStatuses {
		pulled = pulled || strings.HasPrefix(c.ImageID, "registry.kubernaut-system.svc:5000/kubernaut/tools@sha256:")
	}
	if !pulled {
		t.Errorf("no container ran the registry's image: %+v", pods.Items[0].Status.ContainerStatuses)
	}
}

func TestTheSameAgainIsSkipped(t *testing.T) {
	t.Parallel()
	w := spec(t)
	w.deployment("app")
	first := w.untilRecorded(w.execute("increase-memory", w.target("app"), limit("64Mi")))

	second := w.untilRecorded(w.execute("increase-memory", w.target("app"), limit("64Mi")))

	if second.Status.Phase != v1alpha1.PhaseSkipped || second.Status.SkipDetails == nil {
		t.Fatalf("phase %s, want Skipped", second.Status.Phase)
	}
	skip := second.Status.SkipDetails
	if skip.Reason != v1alpha1.SkipRecentlyRemediated || skip.RecentRemediation == nil {
		t.Fatalf("skipped for %s: %s", skip.Reason, skip.Message)
	}
	if left := skip.RecentRemediation.CooldownRemaining.Duration; left <= 0 || left > 5*time.Minute {
		t.Errorf("cooldown left: %s", left)
	}
	if want := w.namespace + "/" + first.Name; skip.RecentRemediation.Name != want {
		t.Errorf("skipped because of %q, want %q", skip.RecentRemediation.Name, want)
	}
	if second.Status.PipelineRunRef != nil {
		t.Errorf("a skipped execution has a run: %+v", second.Status.PipelineRunRef)
	}
	if got := types(w.trail(second)); got != "created skipped" {
		t.Errorf("the trail is %q", got)
	}
}

func TestAFailureIsToldPreciselyAndKeepsItsSecret(t *testing.T) {
	const secret = "correct-horse-battery"
	t.Parallel()
	w := spec(t)
	w.deployment("app")

	e := w.untilRecorded(w.execute("fails", w.target("app"), password(secret)))

	f := e.Status.FailureDetails
	if e.Status.Phase != v1alpha1.PhaseFailed || f == nil {
		t.Fatalf("phase %s, want Failed", e.Status.Phase)
	}
	if f.Reason != v1alpha1.FailureTaskFailed || f.FailedTaskName != "check" || f.FailedStepName != "second" {
		t.Errorf("%s in task %q step %q, want TaskFailed in check, second", f.Reason, f.FailedTaskName, f.FailedStepName)
	}
	if f.ExitCode == nil || *f.ExitCode != 3 {
		t.Errorf("exit code %v, want 3", f.ExitCode)
	}
	if !f.WasExecutionFailure || f.RetrySafe {
		t.Errorf("user code started: %v, retry safe: %v; want true, false", f.WasExecutionFailure, f.RetrySafe)
	}
	if evidence := strings.Join(f.Evidence, "\n"); !strings.Contains(evidence, "the disk is full") {
		t.Errorf("the evidence lacks the step's lines: %q", evidence)
	}
	trail := w.trail(e)
	if got := types(trail); got != "created locked started failed" {
		t.Errorf("the trail is %q", got)
	}
	all, err := json.Marshal([]any{e.Status, trail})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(all), secret) {
		t.Error("the secret parameter's value stands in status or trail")
	}
}

func TestAfterAFailureTheTargetIsBlockedForTheWorkflow(t *testing.T) {
	t.Parallel()
	w := spec(t)
	w.deployment("app")
	w.untilRecorded(w.execute("fails", w.target("app"), password("x-marks-the-spot")))

	again := w.untilRecorded(w.execute("fails", w.target("app"), password("x-marks-the-spot")))
	other := w.untilRecorded(w.execute("increase-memory", w.target("app"), limit("64Mi")))

	if s := again.Status.SkipDetails; s == nil || s.Reason != v1alpha1.SkipPreviousExecutionFailed {
		t.Errorf("the same workflow: phase %s, skip %+v; want PreviousExecutionFailed", again.Status.Phase, s)
	}
	if other.Status.Phase != v1alpha1.PhaseCompleted {
		t.Errorf("another workflow: phase %s, want Completed", other.Status.Phase)
	}
}

func TestARunDeletedFromOutsideIsRecorded(t *testing.T) {
	t.Parallel()
	w := spec(t)
	e, pod := w.working("lasts")
	w.printed(pod, "started")

	if err := w.Client.Delete(w.ctx, w.run(e)); err != nil {
		t.Fatal(err)
	}

	e = w.fails(e, told{reason: v1alpha1.FailureExternallyDeleted, started: true, printed: "started"})
	w.untilGone(e)
}

func TestCancelStopsTheRun(t *testing.T) {
	t.Parallel()
	w := spec(t)
	w.deployment("app")
	e := w.execute("lasts", w.target("app"))
	e = w.untilExecution(e, func(e *v1alpha1.WorkflowExecution) bool { return ended(e) || e.Status.UserCodeStarted })

	patch := client.MergeFrom(e.DeepCopy())
	e.Spec.Cancel = &v1alpha1.CancelRequest{Mode: v1alpha1.CancelImmediate, Reason: "the spec has seen enough"}
	if err := w.Client.Patch(w.ctx, e, patch); err != nil {
		t.Fatal(err)
	}

	e = w.untilRecorded(e)
	if e.Status.Phase != v1alpha1.PhaseCancelled {
		t.Errorf("phase %s, want Cancelled", e.Status.Phase)
	}
	if got := types(w.trail(e)); got != "created locked started cancelled" {
		t.Errorf("the trail is %q", got)
	}
}

func TestDeletingAnExecutionStopsItsRunFirst(t *testing.T) {
	t.Parallel()
	w := spec(t)
	w.deployment("app")
	e := w.execute("lasts", w.target("app"))
	e = w.untilExecution(e, func(e *v1alpha1.WorkflowExecution) bool { return ended(e) || e.Status.UserCodeStarted })

	if err := w.Client.Delete(w.ctx, e); err != nil {
		t.Fatal(err)
	}

	w.untilGone(e)
	next := w.untilRecorded(w.execute("increase-memory", w.target("app"), limit("64Mi")))
	if next.Status.Phase != v1alpha1.PhaseCompleted {
		t.Errorf("the target is not free afterwards: phase %s, %+v", next.Status.Phase, next.Status.SkipDetails)
	}
	if got := types(w.trail(e)); got != "created locked started cancelled" {
		t.Errorf("the trail of the deleted execution is %q", got)
	}
}

// untilGone waits until no pod of the execution's run is alive and, when the
// execution itself was deleted, until it is gone.
func (w *world) untilGone(e *v1alpha1.WorkflowExecution) {
	w.Helper()
	err := wait.PollUntilContextTimeout(w.ctx, interval, patience, true, func(context.Context) (bool, error) {
		return w.stopped(e), nil
	})
	if err != nil {
		w.Fatalf("execution %s or a pod of its run is still there after %s", e.Name, patience)
	}
}

func (w *world) stopped(e *v1alpha1.WorkflowExecution) bool {
	w.Helper()
	var pods corev1.PodList
	err := w.Client.List(w.ctx, &pods, client.InNamespace(v1alpha1.WorkflowNamespace),
		client.MatchingLabels{"tekton.dev/pipelineRun": e.Status.PipelineRunRef.Name})
	if err != nil {
		w.Fatal(err)
	}
	for _, p := range pods.Items {
		if p.Status.Phase == corev1.PodRunning || p.Status.Phase == corev1.PodPending {
			return false
		}
	}
	var now v1alpha1.WorkflowExecution
	err = w.Client.Get(w.ctx, client.ObjectKeyFromObject(e), &now)
	return apierrors.IsNotFound(err) || err == nil && now.DeletionTimestamp == nil
}
