package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// working is an execution whose code has started, and the pod it runs in.
func (w *world) working(workflow string) (*v1alpha1.WorkflowExecution, *corev1.Pod) {
	w.Helper()
	w.deployment("app")
	e := w.execute(workflow, w.target("app"))
	e = w.untilExecution(e, func(e *v1alpha1.WorkflowExecution) bool { return ended(e) || e.Status.UserCodeStarted })
	var pods corev1.PodList
	if err := w.Client.List(w.ctx, &pods, client.InNamespace(v1alpha1.WorkflowNamespace), client.MatchingLabels{v1alpha1.LabelExecutionUID: string(e.UID)}); err != nil {
		w.Fatal(err)
	}
	if len(pods.Items) != 1 {
		w.Fatalf("the run of %s has %d pods, want 1", e.Name, len(pods.Items))
	}
	return e, &pods.Items[0]
}

// printed waits until the program of a pod's first container has printed a line.
func (w *world) printed(pod *corev1.Pod, line string) {
	w.Helper()
	w.eventually(pod.Name+" prints "+line, func() error {
		log, err := w.Core.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: pod.Spec.Containers[0].Name}).DoRaw(w.ctx)
		if err == nil && !strings.Contains(string(log), line) {
			err = fmt.Errorf("its log is %q", log)
		}
		return err
	})
}

// TestPartsTakenAwayUnderARun: the engine would run code again that may have done
// its work.
func TestPartsTakenAwayUnderARun(t *testing.T) {
	force := client.GracePeriodSeconds(0)
	for _, c := range []struct {
		name, workflow string
		reason         v1alpha1.FailureReason
		take           func(*world, *corev1.Pod) error
		full           bool
	}{
		{"eviction", "lasts", v1alpha1.FailureEvicted, (*world).evict, false},
		{"eviction of a Job's pod", "job-obeys", v1alpha1.FailureEvicted, (*world).evict, true},
		{"deletion of the pod", "lasts", v1alpha1.FailureExternallyDeleted, func(w *world, p *corev1.Pod) error { return w.Client.Delete(w.ctx, p) }, true},
		{"deletion of the pod by force", "lasts", v1alpha1.FailureExternallyDeleted, func(w *world, p *corev1.Pod) error { return w.Client.Delete(w.ctx, p, force) }, true},
		{"deletion of a Job's pod", "job-obeys", v1alpha1.FailureExternallyDeleted, func(w *world, p *corev1.Pod) error { return w.Client.Delete(w.ctx, p) }, true},
		{"deletion of a Job's pod by force", "job-obeys", v1alpha1.FailureExternallyDeleted, func(w *world, p *corev1.Pod) error { return w.Client.Delete(w.ctx, p, force) }, true},
		{"deletion of the TaskRun", "lasts", v1alpha1.FailureExternallyDeleted, func(w *world, p *corev1.Pod) error {
			return w.Client.Delete(w.ctx, &tekton.TaskRun{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Labels["tekton.dev/taskRun"]}})
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.full {
				onlyFull(t)
			}
			w := spec(t)
			e, pod := w.working(c.workflow)
			if err := c.take(w, pod); err != nil {
				t.Fatal(err)
			}
			e = w.fails(e, told{reason: c.reason, started: true})
			w.untilGone(e)
		})
	}
}

func (w *world) evict(pod *corev1.Pod) error {
	return w.Core.CoreV1().Pods(pod.Namespace).EvictV1(w.ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}})
}

// away scales a Deployment of Tekton to nothing for the length of a spec.
func (w *world) away(name string) (back func()) {
	w.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "tekton-pipelines", Name: name}}
	scale := func(ctx context.Context, replicas string) {
		w.Helper()
		if err := w.Client.Patch(ctx, d, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":`+replicas+`}}`))); err != nil {
			w.Fatalf("scaling %s: %v", name, err)
		}
	}
	scale(w.ctx, "0")
	until(w, d, &appsv1.DeploymentList{}, func(d *appsv1.Deployment) bool {
		return d.Status.ObservedGeneration >= d.Generation && d.Status.Replicas == 0
	})
	returned := false
	back = func() {
		if returned {
			return
		}
		returned = true
		scale(context.Background(), "1")
		until(w, d, &appsv1.DeploymentList{}, func(d *appsv1.Deployment) bool { return d.Status.AvailableReplicas == 1 })
	}
	w.Cleanup(back)
	return back
}

// TestTektonsWebhookIsAway: no run can be created; the execution says so, and goes
// on when it is back.
func TestTektonsWebhookIsAway(t *testing.T) {
	onlyFull(t)
	w := spec(t)
	w.deployment("app")
	back := w.away("tekton-pipelines-webhook")
	e := w.execute("nothing", w.target("app"))
	e = w.untilExecution(e, func(e *v1alpha1.WorkflowExecution) bool { return ended(e) || e.Status.Waiting != nil })
	if wait := e.Status.Waiting; wait == nil || !strings.Contains(wait.Message, "webhook does not answer") || wait.Until == nil {
		t.Fatalf("phase %s, waiting %+v", e.Status.Phase, wait)
	}
	back()
	w.untilPhase(e, v1alpha1.PhaseCompleted)
}

// TestTektonsControllerIsAway: nobody enforces the timeout but us, and nobody stops
// the run; the target stays held until it has stopped.
func TestTektonsControllerIsAway(t *testing.T) {
	onlyFull(t)
	w := spec(t)
	w.deployment("app")
	back := w.away("tekton-pipelines-controller")
	e := w.execute("nothing", w.target("app"), timeout(time.Second))
	e = w.untilExecution(e, func(e *v1alpha1.WorkflowExecution) bool { return ended(e) || e.Status.Waiting != nil })
	if wait := e.Status.Waiting; wait == nil || wait.Reason != v1alpha1.ReasonStopping {
		t.Fatalf("phase %s, waiting %+v; want it to say that the run was asked to stop", e.Status.Phase, wait)
	}
	back()
	w.fails(e, told{reason: v1alpha1.FailureDeadlineExceeded})
}

// TestFinallyRunsOrNot: Graceful lets finally tasks run, Immediate does not.
func TestFinallyRunsOrNot(t *testing.T) {
	for _, c := range []struct {
		mode    v1alpha1.CancelMode
		cleaned string
		full    bool
	}{{v1alpha1.CancelGraceful, "yes", false}, {v1alpha1.CancelImmediate, "", true}} {
		t.Run(string(c.mode), func(t *testing.T) {
			if c.full {
				onlyFull(t)
			}
			w := spec(t)
			e, _ := w.working("cleans-up")
			w.cancel(e, c.mode)
			w.untilPhase(e, v1alpha1.PhaseCancelled)
			d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "app"}}
			if err := w.Client.Get(w.ctx, client.ObjectKeyFromObject(d), d); err != nil {
				t.Fatal(err)
			}
			if got := d.Annotations["spec/cleaned"]; got != c.cleaned {
				t.Errorf("cleaned up: %q, want %q", got, c.cleaned)
			}
		})
	}
}

func (w *world) cancel(e *v1alpha1.WorkflowExecution, mode v1alpha1.CancelMode) {
	w.Helper()
	patch := client.MergeFrom(e.DeepCopy())
	e = e.DeepCopy()
	e.Spec.Cancel = &v1alpha1.CancelRequest{Mode: mode, Reason: "the spec has seen enough"}
	if err := w.Client.Patch(w.ctx, e, patch); err != nil {
		w.Fatal(err)
	}
}
