package enginetest

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/internal/engine"
)

// Jobs plays Kubernetes' own controller of Jobs and the kubelet on an API server
// where neither runs.
type Jobs struct{ hand }

// NewJobs returns a player that writes through c.
func NewJobs(c client.Client) Jobs { return Jobs{hand{c}} }

// Play makes something happen to a run.
func (p Jobs) Play(t *testing.T, ref engine.Ref, e Event) {
	t.Helper()
	job := &batchv1.Job{ObjectMeta: meta(ref.Name)}
	if e == IsTaken {
		job.Spec.Template.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "theirs", Image: "i"}}}
		p.create(t, job)
		return
	}
	there := p.find(t, job)
	pod := &corev1.Pod{ObjectMeta: meta(ref.Name + "-x7x7x")}
	switch e {
	case Begins:
		p.Schedule(t, job)
		p.startContainer(t, pod, "main")
	case Succeeds:
		p.endPod(t, pod, 0)
		p.finish(t, job, batchv1.JobComplete, "CompletionsReached")
	case Fails:
		p.endPod(t, pod, FailsWith)
		p.finish(t, job, batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded)
	case TimesOut:
		p.delete(t, pod)
		p.endPod(t, pod, 137)
		p.finish(t, job, batchv1.JobFailed, batchv1.JobReasonDeadlineExceeded)
	case Stops:
		p.stop(t, job, there)
	case IsDeleted:
		p.delete(t, job)
	case IsRemoved:
		p.remove(t, job)
	case LosesItsPod:
		p.delete(t, pod)
	}
}

// Schedule makes the pod of a Job.
func (p Jobs) Schedule(t *testing.T, job *batchv1.Job) *corev1.Pod {
	t.Helper()
	m := partOf(job, "batch/v1", "Job", job.Name+"-x7x7x")
	m.Labels, m.Annotations = job.Spec.Template.Labels, job.Spec.Template.Annotations
	m.Finalizers = append([]string{batchv1.JobTrackingFinalizer}, job.Spec.Template.Finalizers...)
	pod := podOf(m, job.Spec.Template.Spec)
	p.create(t, pod)
	change(t, p.hand, job, func() {
		if job.Status.Active = 1; job.Status.StartTime == nil {
			job.Status.StartTime = now()
		}
	})
	return pod
}

// finish lets a Job end; it counts its pod and lets it go.
func (p Jobs) finish(t *testing.T, job *batchv1.Job, end batchv1.JobConditionType, reason string) {
	t.Helper()
	before := map[batchv1.JobConditionType]batchv1.JobConditionType{
		batchv1.JobComplete: batchv1.JobSuccessCriteriaMet, batchv1.JobFailed: batchv1.JobFailureTarget,
	}
	change(t, p.hand, job, func() {
		st := &job.Status
		if st.StartTime == nil {
			st.StartTime = now()
		}
		if end == batchv1.JobComplete {
			st.Succeeded, st.CompletionTime = 1, now()
		} else {
			st.Failed = st.Active
		}
		st.Active = 0
		for _, kind := range []batchv1.JobConditionType{before[end], end} {
			st.Conditions = append(st.Conditions, batchv1.JobCondition{
				Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: "played: " + reason, LastTransitionTime: *now(),
			})
		}
	})
}

// stop lets everything stop that was asked to: a Job whose time was taken away
// deletes its pod, and a pod that is being deleted ends.
func (p Jobs) stop(t *testing.T, job *batchv1.Job, there bool) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: meta(job.Name + "-x7x7x")}
	over := there && job.Spec.ActiveDeadlineSeconds != nil && *job.Spec.ActiveDeadlineSeconds == 0 && job.DeletionTimestamp == nil
	if p.find(t, pod) {
		if over && pod.DeletionTimestamp == nil {
			p.delete(t, pod)
		}
		if over || pod.DeletionTimestamp != nil {
			p.endPod(t, pod, 137)
		}
	}
	if over {
		p.finish(t, job, batchv1.JobFailed, batchv1.JobReasonDeadlineExceeded)
	}
}
