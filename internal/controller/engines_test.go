package controller_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/engine/enginetest"
	"kubernaut.ai/kubernaut/test/servers"
)

// asJob runs the workflow that the catalog gives to Jobs.
func asJob(ex *v1alpha1.WorkflowExecution) { ex.Spec.WorkflowRef.WorkflowID = "restart" }

func (w *world) registerJob() {
	size := "1"
	w.storage.register(datastorage.Workflow{WorkflowName: "restart", Version: "1.0.0", ContainerImage: "registry/restart:v1",
		ContainerDigest: "sha256:" + fmt.Sprintf("%064d", 2), ExecutionEngine: "job", Status: datastorage.WorkflowStatusActive,
		Parameters: []datastorage.WorkflowParameter{{Name: "SIZE", Default: &size}, {Name: "MODE"}, {Name: "TOKEN", Secret: true}},
		Secrets:    []string{"login"}, ConfigMaps: []string{"settings"}})
}

// job waits for the Job of an execution.
func (w *world) job(ex *v1alpha1.WorkflowExecution) *batchv1.Job {
	w.t.Helper()
	job := &batchv1.Job{}
	w.eventually("the Job of "+ex.Name+" exists", func() error {
		return w.client.Get(w.t.Context(), types.NamespacedName{Namespace: v1alpha1.WorkflowNamespace, Name: engine.NameFor(ex)}, job)
	})
	return job
}

// forWorkflows makes a Secret or a ConfigMap that workflows may use.
func (w *world) forWorkflows(obj client.Object) {
	w.t.Helper()
	obj.SetNamespace(v1alpha1.WorkflowNamespace)
	obj.SetLabels(map[string]string{v1alpha1.LabelForWorkflows: "true"})
	w.must(w.client.Create(w.t.Context(), obj))
	w.t.Cleanup(func() { _ = w.client.Delete(context.Background(), obj) })
}

func TestAJobCarriesOutAWorkflow(t *testing.T) {
	w := newWorld(t)
	w.registerJob()
	w.forWorkflows(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "login"}, StringData: map[string]string{"password": "hunter2hunter2"}})
	w.forWorkflows(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}})
	w.run()
	play := enginetest.NewJobs(w.client)
	ex := w.submit("first", asJob, func(ex *v1alpha1.WorkflowExecution) {
		ex.Spec.Parameters = map[string]string{"MODE": "$(HOME)"}
		ex.Spec.SecretRefs, ex.Spec.ConfigMapRefs = []string{"login"}, []string{"settings"}
		ex.Spec.ExecutionConfig = &v1alpha1.ExecutionConfig{Timeout: &metav1.Duration{Duration: 90 * time.Second}}
	})
	job := w.job(ex)
	c := job.Spec.Template.Spec.Containers[0]
	var env, mounts []string
	for _, v := range c.Env {
		env = append(env, v.Name+"="+v.Value)
	}
	for _, m := range c.VolumeMounts {
		mounts = append(mounts, m.MountPath)
	}
	if diff := cmp.Diff([]string{"MODE=$$(HOME)", "SIZE=1", "TARGET_RESOURCE=" + w.ns + "/deployment.apps/api"}, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/workspace/login", "/workspace/settings"}, mounts); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	if *job.Spec.BackoffLimit != 0 || *job.Spec.ActiveDeadlineSeconds != 90 || job.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyNever || c.Image != "registry/restart@sha256:"+fmt.Sprintf("%064d", 2) {
		t.Errorf("the Job is %+v", job.Spec)
	}
	ref := engine.RefFor(ex)
	w.await(ex, v1alpha1.PhaseRunning)
	play.Play(t, ref, enginetest.Begins)
	w.latched(ex)
	play.Play(t, ref, enginetest.Fails)
	done := w.settled(ex)
	f := done.Status.FailureDetails
	if f == nil || f.Reason != v1alpha1.FailureTaskFailed || f.FailedTaskName != "job" || f.FailedStepName != "main" || *f.ExitCode != enginetest.FailsWith || f.RetrySafe {
		t.Errorf("failure details: %+v", f)
	}
	if diff := cmp.Diff([]string{"created", "locked", "started", "failed"}, w.storage.actions(ex)); diff != "" {
		t.Errorf("trail (-want +got):\n%s", diff)
	}
	if next := w.settled(w.submit("next", asJob)); next.Status.SkipDetails == nil || next.Status.SkipDetails.Reason != v1alpha1.SkipPreviousExecutionFailed {
		t.Errorf("after a failure: %s %+v, want PreviousExecutionFailed", next.Status.Phase, next.Status.SkipDetails)
	}
}

// latched waits until the start of user code stands in status.
func (w *world) latched(ex *v1alpha1.WorkflowExecution) {
	w.t.Helper()
	w.eventually("the start of user code is latched", func() error {
		now, err := w.get(ex)
		if err == nil && !now.Status.UserCodeStarted {
			return fmt.Errorf("status: %+v", now.Status)
		}
		return err
	})
}

// TestAJobThatWaitsInVain: what it waits for is told, it is stopped, and its pod,
// which proves that nothing had started, goes when the execution is settled.
func TestAJobThatWaitsInVain(t *testing.T) {
	w := newWorld(t)
	w.registerJob()
	w.run()
	play := enginetest.NewJobs(w.client)
	ex := w.submit("first", asJob)
	pod := play.Schedule(t, w.job(ex))
	pod.Status.Phase = corev1.PodPending
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "Back-off pulling image"}}}}
	w.must(w.client.Status().Update(t.Context(), pod))
	w.eventually("the Job is asked to stop", func() error {
		if job := w.job(ex); *job.Spec.ActiveDeadlineSeconds != 0 {
			return errors.New("it is not")
		}
		return nil
	})
	if now, err := w.get(ex); err != nil || now.Status.Waiting == nil || now.Status.Waiting.Reason != string(v1alpha1.FailureImagePullBackOff) {
		t.Errorf("waiting: %+v, want it to tell of the image: %v", now.Status.Waiting, err)
	}
	play.Play(t, engine.RefFor(ex), enginetest.Stops)
	f := w.settled(ex).Status.FailureDetails
	if f == nil || f.Reason != v1alpha1.FailureImagePullBackOff || !f.RetrySafe || !strings.Contains(f.Message, "Back-off pulling image") {
		t.Errorf("failure details: %+v", f)
	}
}

// TestWhatOnlyEventsTell: a Secret that is nowhere and a quota that is used up.
func TestWhatOnlyEventsTell(t *testing.T) {
	w := newWorld(t)
	w.registerJob()
	w.run()
	ex := w.submit("first", asJob)
	job := w.job(ex)
	job.Status.StartTime = &metav1.Time{Time: time.Now()}
	w.must(w.client.Status().Update(t.Context(), job))
	w.warn(corev1.ObjectReference{Kind: "Job", Namespace: job.Namespace, Name: job.Name, UID: job.UID},
		"FailedCreate", `Error creating: pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0`)
	w.waits(ex, v1alpha1.FailureResourceExhausted, "exceeded quota")

	pod := enginetest.NewJobs(w.client).Schedule(t, job)
	w.warn(corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		"FailedMount", `MountVolume.SetUp failed for volume "reference-0" : secret "login" not found`)
	w.waits(ex, v1alpha1.FailureConfigurationError, `secret "login" not found`)

	enginetest.NewJobs(w.client).Play(t, engine.RefFor(ex), enginetest.Succeeds)
	w.settled(ex)
}

func (w *world) warn(about corev1.ObjectReference, reason, message string) {
	w.t.Helper()
	w.must(w.client.Create(w.t.Context(), &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "warning-", Namespace: about.Namespace}, InvolvedObject: about,
		Type: corev1.EventTypeWarning, Reason: reason, Message: message, LastTimestamp: metav1.Now(),
	}))
}

func (w *world) waits(ex *v1alpha1.WorkflowExecution, reason v1alpha1.FailureReason, says string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%s waits because of %s", ex.Name, reason), func() error {
		now, err := w.get(ex)
		if wait := now.Status.Waiting; err == nil && (wait == nil || wait.Reason != string(reason) || !strings.Contains(wait.Message, says) || wait.Until == nil) {
			return fmt.Errorf("waiting: %+v", wait)
		}
		return err
	})
}

// TestRetentionOfJobs: the pod that somebody deleted goes when nothing is owed, the
// Job when its time is over.
func TestRetentionOfJobs(t *testing.T) {
	w := newWorld(t)
	w.registerJob()
	w.cfg.Execution.Retention.Duration = time.Second
	w.run()
	ex := w.submit("first", asJob)
	job := w.job(ex)
	play := enginetest.NewJobs(w.client)
	play.Play(t, engine.RefFor(ex), enginetest.Begins)
	play.Play(t, engine.RefFor(ex), enginetest.Succeeds)
	w.settled(ex)
	w.eventually("the Job is gone", func() error {
		err := w.client.Get(t.Context(), client.ObjectKeyFromObject(job), job)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("finalizers %v: %w", job.Finalizers, err)
	})
	pod := &corev1.Pod{}
	err := w.client.Get(t.Context(), types.NamespacedName{Namespace: v1alpha1.WorkflowNamespace, Name: job.Name + "-x7x7x"}, pod)
	if err != nil || controllerHolds(pod) {
		t.Errorf("our finalizer is still on the pod: %v, %v", pod.Finalizers, err)
	}
}

func controllerHolds(obj client.Object) bool {
	for _, f := range obj.GetFinalizers() {
		if f == v1alpha1.RunFinalizer {
			return true
		}
	}
	return false
}

// TestTektonComesLater: without Tekton the controller runs, Jobs work and Tekton's
// workflows fail with the reason; when it is installed it is taken into service.
func TestTektonComesLater(t *testing.T) {
	if testing.Short() {
		t.Skip("needs kube-apiserver: run make test")
	}
	kube, err := servers.StartAPIServerWithoutTekton()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kube.Stop() })
	w := newWorldOn(t, kube)
	w.registerJob()
	w.run()
	f := w.settled(w.submit("early")).Status.FailureDetails
	if f == nil || f.Reason != v1alpha1.FailureConfigurationError || !strings.Contains(f.Message, "Tekton Pipelines is not installed in this cluster: install it") {
		t.Errorf("failure details: %+v", f)
	}
	ex := w.submit("meanwhile", asJob)
	w.job(ex)
	play := enginetest.NewJobs(w.client)
	play.Play(t, engine.RefFor(ex), enginetest.Begins)
	play.Play(t, engine.RefFor(ex), enginetest.Succeeds)
	if got := w.settled(ex); got.Status.Phase != v1alpha1.PhaseCompleted {
		t.Errorf("a Job without Tekton: %s, %+v", got.Status.Phase, got.Status.FailureDetails)
	}
	w.must(kube.InstallWithheld())
	n := 0
	var late *v1alpha1.WorkflowExecution
	w.eventually("a workflow of Tekton is started", func() error {
		if late == nil || late.Status.Phase == v1alpha1.PhaseFailed {
			n++
			late = w.submit(fmt.Sprintf("late-%d", n), func(ex *v1alpha1.WorkflowExecution) {
				ex.Spec.TargetResource = fmt.Sprintf("%s/deployment/late-%d", w.ns, n)
			})
		}
		var err error
		if late, err = w.get(late); err != nil || late.Status.PipelineRunRef != nil {
			return err
		}
		return fmt.Errorf("%s is %s", late.Name, late.Status.Phase)
	})
	w.succeed(w.pipelineRun(late))
	w.await(late, v1alpha1.PhaseCompleted)
}
