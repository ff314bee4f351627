package job

import (
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/engine/pod"
	"kubernaut.ai/kubernaut/internal/execution"
)

// World is what Kubernetes says of one run.
type World struct {
	Job   *batchv1.Job // nil: absent
	Pods  []corev1.Pod
	Fresh bool // read past every cache
}

// Translate says in the engine-neutral words of package execution what Kubernetes
// says of a run. It is pure: testdata holds what Kubernetes really reports.
func Translate(w World, ref engine.Ref) execution.Run {
	run := execution.Run{State: execution.RunAbsent, Name: ref.Name, Namespace: v1alpha1.WorkflowNamespace}
	if w.Job != nil {
		translateJob(&run, w.Job, ref)
		run.Cancelled = run.State == execution.RunFinished && !run.Succeeded && run.StopReason != "" && (run.TimedOut || deleted(w.Pods))
		run.TimedOut = run.TimedOut && !run.Cancelled
	}
	if w.Job != nil || len(w.Pods) > 0 {
		run.Tasks = []execution.Task{task(w.Pods, &run)}
	}
	run.CodeStarted = codeStarted(w)
	for i := range w.Pods {
		p := &w.Pods[i]
		if run.Hold == nil && run.State == execution.RunActive && p.DeletionTimestamp == nil {
			run.Hold = pod.Hold(p)
		}
		if pod.Alive(p) {
			run.Alive = append(run.Alive, "Pod "+p.Name)
			if p.DeletionTimestamp == nil {
				run.Orphans = append(run.Orphans, "Pod "+p.Name)
			}
		}
	}
	run.LostChild, run.LostReason = lost(w, &run)
	return run
}

// endOf is the condition with which a Job has ended; nil before.
func endOf(job *batchv1.Job) *batchv1.JobCondition {
	if job == nil {
		return nil
	}
	for i := range job.Status.Conditions {
		c := &job.Status.Conditions[i]
		if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) {
			return c
		}
	}
	return nil
}

func translateJob(run *execution.Run, job *batchv1.Job, ref engine.Ref) {
	run.UID = job.UID
	run.Ours = ref.Owns(job)
	run.Occupant = job.Annotations[engine.AnnotationOccupant] == "true"
	run.Deleting = job.DeletionTimestamp != nil
	run.Kept = engine.HasFinalizer(job)
	run.Created = job.CreationTimestamp.Time
	if limit := job.Spec.ActiveDeadlineSeconds; limit != nil && *limit == 0 { // else nothing but the note has been made
		run.Stopping = v1alpha1.CancelMode(job.Annotations[engine.AnnotationStopMode])
	}
	run.StopReason = v1alpha1.FailureReason(job.Annotations[engine.AnnotationStopReason])
	run.State, run.Reason, run.TotalTasks = execution.RunActive, "Running", 1
	if job.Status.StartTime != nil {
		run.Started = job.Status.StartTime.Time
	}
	if spec := job.Spec.Template.Spec.Containers; len(spec) > 0 {
		if _, digest, pinned := strings.Cut(spec[0].Image, "@"); pinned {
			run.Digest = digest
		}
	}
	c := endOf(job)
	if c == nil {
		return
	}
	run.State, run.Succeeded, run.CompletedTasks = execution.RunFinished, c.Type == batchv1.JobComplete, 1
	run.Reason, run.Message, run.Finished = c.Reason, c.Message, c.LastTransitionTime.Time
	run.TimedOut = c.Reason == batchv1.JobReasonDeadlineExceeded
}

// task is the one task of a Job: its pod, the last one if there were several.
func task(pods []corev1.Pod, run *execution.Run) execution.Task {
	t := execution.Task{Name: Task}
	if len(pods) == 0 {
		return t
	}
	p := &pods[len(pods)-1]
	t.Failed = p.Status.Phase == corev1.PodFailed && run.State == execution.RunFinished && !run.TimedOut && !run.Cancelled
	t.Reason, t.Message = p.Status.Reason, p.Status.Message
	for _, c := range p.Status.ContainerStatuses {
		s := execution.Step{Name: c.Name, Created: c.ImageID != ""}
		if end := c.State.Terminated; end != nil {
			s.Terminated, s.ExitCode, s.Reason = true, end.ExitCode, end.Reason
			if t.Reason == "" {
				t.Reason, t.Message = end.Reason, fmt.Sprintf("container %q exited with code %d", c.Name, end.ExitCode)
			}
		}
		t.Steps = append(t.Steps, s)
	}
	return t
}

// codeStarted: the container has shown an image id, or a pod is missing that could
// have shown it.
func codeStarted(w World) bool {
	for i := range w.Pods {
		if pod.Started(&w.Pods[i]) {
			return true
		}
	}
	if w.Job == nil || !w.Fresh {
		return false
	}
	st := w.Job.Status
	made := int(st.Active + st.Succeeded + st.Failed)
	if u := st.UncountedTerminatedPods; u != nil {
		made += len(u.Succeeded) + len(u.Failed)
	}
	return made > len(w.Pods)
}

// lost names the pod when somebody takes it away, or did, before the run ended.
func lost(w World, run *execution.Run) (string, v1alpha1.FailureReason) {
	if w.Job == nil || run.Stopping != "" || run.StopReason != "" || run.TimedOut || run.Succeeded || !run.CodeStarted {
		return "", ""
	}
	if p := taken(w); p != nil {
		return "Pod " + p.Name, pod.Removal(p)
	}
	if run.State == execution.RunFinished && len(w.Pods) == 0 {
		return "the pod of Job " + w.Job.Name, v1alpha1.FailureExternallyDeleted
	}
	return "", ""
}

// taken is a pod that somebody deletes under its container. A Job whose time is over
// deletes its pod itself.
func taken(w World) *corev1.Pod {
	for i := range w.Pods {
		p := &w.Pods[i]
		if p.DeletionTimestamp != nil && !overdue(w.Job, p) && !endedFirst(p) {
			return p
		}
	}
	return nil
}

// overdue: the pod was deleted when its Job had no time left. Times of the API are
// cut to the second.
func overdue(job *batchv1.Job, p *corev1.Pod) bool {
	limit := job.Spec.ActiveDeadlineSeconds
	if limit == nil || *limit == 0 || job.Status.StartTime == nil { // 0: that is us
		return false
	}
	end := job.Status.StartTime.Add(time.Duration(*limit) * time.Second)
	return !pod.Asked(p).Before(end.Add(-time.Second))
}

// endedFirst: the container had ended by itself before somebody deleted its pod. The
// times of a pod do not tell: the kubelet renews them when it is done.
func endedFirst(p *corev1.Pod) bool {
	for _, c := range p.Status.ContainerStatuses {
		if end := c.State.Terminated; end != nil && !end.FinishedAt.IsZero() && end.ExitCode != sigkill && end.ExitCode != sigterm {
			return true
		}
	}
	return false
}

// The exit codes of a container that was killed, and of one that was asked to end.
const (
	sigkill = 128 + 9
	sigterm = 128 + 15
)

// deleted says whether somebody deletes a pod. Kubernetes deletes none that has
// ended, and neither do we when we stop a run.
func deleted(pods []corev1.Pod) bool {
	return slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}
