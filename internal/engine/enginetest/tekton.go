package enginetest

import (
	"fmt"
	"maps"
	"testing"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
)

// Tekton plays Tekton's controller and the kubelet on an API server that has
// Tekton's kinds and nothing that acts on them. It writes what they write, as far
// as an engine reads it.
type Tekton struct{ hand }

// NewTekton returns a player that writes through c.
func NewTekton(c client.Client) Tekton { return Tekton{hand{c}} }

// Play makes something happen to a run.
func (p Tekton) Play(t *testing.T, ref engine.Ref, e Event) {
	t.Helper()
	pr := &pipelinev1.PipelineRun{ObjectMeta: meta(ref.Name)}
	if e == IsTaken {
		pr.Spec.PipelineRef = &pipelinev1.PipelineRef{Name: "theirs"}
		p.create(t, pr)
		return
	}
	there := p.find(t, pr)
	switch e {
	case Begins:
		p.Begin(t, pr)
	case Succeeds:
		p.EndTask(t, p.taskRun(t, ref), corev1.ConditionTrue, "Succeeded", 0)
		p.Finish(t, pr, corev1.ConditionTrue, "Succeeded")
	case Fails:
		p.EndTask(t, p.taskRun(t, ref), corev1.ConditionFalse, "StepFailed", FailsWith)
		p.Finish(t, pr, corev1.ConditionFalse, "Failed")
	case TimesOut:
		p.stopTask(t, p.taskRun(t, ref))
		p.Finish(t, pr, corev1.ConditionFalse, "PipelineRunTimeout")
	case Stops:
		p.stop(t, pr, there)
	case IsDeleted:
		p.delete(t, pr)
	case IsRemoved:
		p.remove(t, pr)
	case LosesItsPod:
		p.delete(t, p.pod(ref))
	}
}

func (p Tekton) pod(ref engine.Ref) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: meta(ref.Name + "-act-pod")}
}

func (p Tekton) taskRun(t *testing.T, ref engine.Ref) *pipelinev1.TaskRun {
	t.Helper()
	tr := &pipelinev1.TaskRun{ObjectMeta: meta(ref.Name + "-act")}
	p.find(t, tr)
	return tr
}

// Schedule makes the TaskRun of a run, of one task named act.
func (p Tekton) Schedule(t *testing.T, pr *pipelinev1.PipelineRun) *pipelinev1.TaskRun {
	t.Helper()
	tr := &pipelinev1.TaskRun{
		ObjectMeta: partOf(pr, "tekton.dev/v1", "PipelineRun", pr.Name+"-act"),
		Spec:       pipelinev1.TaskRunSpec{TaskSpec: &pipelinev1.TaskSpec{Steps: []pipelinev1.Step{{Name: "main", Image: "i"}}}},
	}
	tr.Labels["tekton.dev/pipelineRun"], tr.Labels["tekton.dev/pipelineTask"] = pr.Name, "act"
	p.create(t, tr)
	change(t, p.hand, pr, func() {
		st := &pr.Status
		st.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionUnknown, Reason: "Running", Message: "Tasks Completed: 0"})
		st.PipelineSpec = &pipelinev1.PipelineSpec{Tasks: []pipelinev1.PipelineTask{{Name: "act"}}}
		st.ChildReferences = []pipelinev1.ChildStatusReference{{Name: tr.Name, PipelineTaskName: "act"}}
		st.ChildReferences[0].Kind = "TaskRun"
	})
	return tr
}

// Begin makes the TaskRun of a run and its pod, whose container starts.
func (p Tekton) Begin(t *testing.T, pr *pipelinev1.PipelineRun) *pipelinev1.TaskRun {
	t.Helper()
	tr := p.Schedule(t, pr)
	pod := podOf(partOf(tr, "tekton.dev/v1", "TaskRun", tr.Name+"-pod"), corev1.PodSpec{
		Containers: []corev1.Container{{Name: "step-main", Image: "i"}},
	})
	pod.Labels["tekton.dev/taskRun"] = tr.Name
	p.create(t, pod)
	p.startContainer(t, pod, "step-main")
	change(t, p.hand, tr, func() {
		tr.Status.PodName = pod.Name
		tr.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionUnknown, Reason: "Running"})
		tr.Status.Steps = []pipelinev1.StepState{{Name: "main", Container: "step-main", ImageID: "sha256:1",
			ContainerState: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	})
	return tr
}

// EndTask lets the one step of a TaskRun exit.
func (p Tekton) EndTask(t *testing.T, tr *pipelinev1.TaskRun, status corev1.ConditionStatus, reason string, code int32) {
	t.Helper()
	p.endPod(t, &corev1.Pod{ObjectMeta: meta(tr.Name + "-pod")}, code)
	change(t, p.hand, tr, func() {
		said := "Completed"
		if code != 0 {
			said = "Error"
		}
		tr.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: status, Reason: reason,
			Message: fmt.Sprintf("\"step-main\" exited with code %d", code)})
		tr.Status.CompletionTime = now()
		tr.Status.Steps = []pipelinev1.StepState{{Name: "main", Container: "step-main", ImageID: "sha256:1", TerminationReason: said,
			ContainerState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: said}}}}
	})
}

// Finish lets a run end.
func (p Tekton) Finish(t *testing.T, pr *pipelinev1.PipelineRun, status corev1.ConditionStatus, reason string) {
	t.Helper()
	change(t, p.hand, pr, func() {
		pr.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: status, Reason: reason, Message: "played: " + reason})
		pr.Status.CompletionTime = now()
	})
}

// stopTask cancels a TaskRun: its pod goes, and its step keeps the id of its image.
func (p Tekton) stopTask(t *testing.T, tr *pipelinev1.TaskRun) {
	t.Helper()
	p.vanish(t, &corev1.Pod{ObjectMeta: meta(tr.Name + "-pod")})
	change(t, p.hand, tr, func() {
		tr.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionFalse, Reason: "TaskRunCancelled"})
		tr.Status.CompletionTime = now()
	})
}

// stop lets everything stop that was asked to.
func (p Tekton) stop(t *testing.T, pr *pipelinev1.PipelineRun, there bool) {
	t.Helper()
	tr := &pipelinev1.TaskRun{ObjectMeta: meta(pr.Name + "-act")}
	if p.find(t, tr) && (tr.Spec.Status != "" || there && pr.Spec.Status != "") && !tr.IsDone() {
		p.stopTask(t, tr)
	}
	if there && pr.Spec.Status != "" && pr.DeletionTimestamp == nil {
		p.Finish(t, pr, corev1.ConditionFalse, "Cancelled")
	}
}

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: v1alpha1.WorkflowNamespace, Name: name}
}

// partOf is the metadata of what an owner makes: its labels and annotations go on.
func partOf(owner client.Object, version, kind, name string) metav1.ObjectMeta {
	yes := true
	m := meta(name)
	m.Labels, m.Annotations = map[string]string{}, map[string]string{}
	maps.Copy(m.Labels, owner.GetLabels())
	maps.Copy(m.Annotations, owner.GetAnnotations())
	m.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: version, Kind: kind, Name: owner.GetName(), UID: owner.GetUID(), Controller: &yes, BlockOwnerDeletion: &yes,
	}}
	return m
}
