package simulation

import (
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Who else writes to the cluster.
const (
	byTekton  = "Tekton"
	byKubelet = "the kubelet"
	byGC      = "the garbage collector"
	byUser    = "a user"
)

// tekton moves a run one step, as Tekton's controller does: it makes the TaskRun,
// follows it to its end, cancels it when asked to, and begins nothing for a run
// that is being deleted.
func (s *simulation) tekton(pr *pipelinev1.PipelineRun) {
	if pr.IsDone() || pr.DeletionTimestamp != nil {
		return
	}
	tr, there := s.server.objects[key{"TaskRun", named(pr.Namespace, pr.Name+"-act")}].(*pipelinev1.TaskRun)
	late := pr.Spec.Timeouts != nil && s.clock.After(pr.CreationTimestamp.Add(pr.Spec.Timeouts.Pipeline.Duration))
	stopping := late || pr.Spec.Status != "" && pr.Spec.Status != pipelinev1.PipelineRunSpecStatusPending
	switch {
	case stopping && there && !tr.IsDone():
		s.cancelTask(tr)
	case late && pr.Spec.Status == "":
		s.finish(pr, corev1.ConditionFalse, "PipelineRunTimeout")
	case stopping:
		s.finish(pr, corev1.ConditionFalse, "Cancelled")
	case !there:
		s.startTask(pr)
	case tr.IsDone() && tr.IsSuccessful():
		s.finish(pr, corev1.ConditionTrue, "Succeeded")
	case tr.IsDone():
		s.finish(pr, corev1.ConditionFalse, "Failed")
	}
}

func (s *simulation) finish(pr *pipelinev1.PipelineRun, succeeded corev1.ConditionStatus, reason string) {
	s.note("Tekton ends run %s: %s", pr.Name, reason)
	edit(s.server, byTekton, pr, func(pr *pipelinev1.PipelineRun) {
		pr.Status.SetCondition(&apis.Condition{
			Type: apis.ConditionSucceeded, Status: succeeded, Reason: reason, LastTransitionTime: apis.VolatileTime{Inner: metav1.NewTime(s.clock)},
		})
		at := metav1.NewTime(s.clock)
		pr.Status.CompletionTime = &at
	})
}

func (s *simulation) startTask(pr *pipelinev1.PipelineRun) {
	s.server.by = byTekton
	tr := &pipelinev1.TaskRun{ObjectMeta: partOf(pr, "PipelineRun", pr.Name+"-act")}
	tr.Labels["tekton.dev/pipelineRun"], tr.Labels["tekton.dev/pipelineTask"] = pr.Name, "act"
	must(s.server.create(tr))
	s.note("Tekton makes TaskRun %s", tr.Name)
	edit(s.server, byTekton, pr, func(pr *pipelinev1.PipelineRun) {
		at := metav1.NewTime(s.clock)
		pr.Status.StartTime = &at
		pr.Status.SetCondition(&apis.Condition{
			Type: apis.ConditionSucceeded, Status: corev1.ConditionUnknown, Reason: "Running", LastTransitionTime: apis.VolatileTime{Inner: at},
		})
		pr.Status.PipelineSpec = &pipelinev1.PipelineSpec{Tasks: []pipelinev1.PipelineTask{{Name: "act"}}}
		pr.Status.ChildReferences = []pipelinev1.ChildStatusReference{{Name: tr.Name, PipelineTaskName: "act"}}
		pr.Status.ChildReferences[0].Kind = "TaskRun"
	})
}

// partOf is the metadata of what an owner makes: its labels and annotations go on.
func partOf(owner client.Object, kind, name string) metav1.ObjectMeta {
	yes := true
	meta := metav1.ObjectMeta{
		Namespace: owner.GetNamespace(), Name: name, Labels: map[string]string{}, Annotations: map[string]string{},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: kind, Name: owner.GetName(), UID: owner.GetUID(), Controller: &yes}},
	}
	for k, v := range owner.GetLabels() {
		meta.Labels[k] = v
	}
	for k, v := range owner.GetAnnotations() {
		meta.Annotations[k] = v
	}
	return meta
}

func (s *simulation) cancelTask(tr *pipelinev1.TaskRun) {
	edit(s.server, byTekton, tr, func(tr *pipelinev1.TaskRun) { tr.Spec.Status = pipelinev1.TaskRunSpecStatusCancelled })
}

// task moves a TaskRun one step. On cancellation it has ended before its pod has;
// that Tekton has seen which containers it stops is taken for granted.
func (s *simulation) task(tr *pipelinev1.TaskRun) {
	if tr.IsDone() || tr.DeletionTimestamp != nil {
		return
	}
	pod, there := s.server.objects[key{"Pod", named(tr.Namespace, tr.Name+"-pod")}].(*corev1.Pod)
	switch {
	case tr.Spec.Status == pipelinev1.TaskRunSpecStatusCancelled:
		if there {
			s.server.by = byTekton
			must(s.server.delete(s.server.keyOf(pod), nil))
		}
		s.endTask(tr, pod, "TaskRunCancelled")
	case !there:
		s.startPod(tr)
	case pod.Status.Phase == corev1.PodSucceeded:
		s.endTask(tr, pod, "Succeeded")
	case pod.Status.Phase == corev1.PodFailed:
		s.endTask(tr, pod, "StepFailed")
	case len(pod.Status.ContainerStatuses) > 0 && len(tr.Status.Steps) == 0:
		edit(s.server, byTekton, tr, func(tr *pipelinev1.TaskRun) {
			tr.Status.Steps = []pipelinev1.StepState{{Name: "main", ImageID: "sha256:1", ContainerState: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
		})
	}
}

func (s *simulation) startPod(tr *pipelinev1.TaskRun) {
	s.server.by = byTekton
	pod := &corev1.Pod{ObjectMeta: partOf(tr, "TaskRun", tr.Name+"-pod")}
	pod.Labels["tekton.dev/taskRun"] = tr.Name
	must(s.server.create(pod))
	edit(s.server, byTekton, tr, func(tr *pipelinev1.TaskRun) {
		tr.Status.PodName = pod.Name
		tr.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionUnknown, Reason: "Pending"})
	})
}

func (s *simulation) endTask(tr *pipelinev1.TaskRun, pod *corev1.Pod, reason string) {
	s.note("Tekton ends TaskRun %s: %s", tr.Name, reason)
	edit(s.server, byTekton, tr, func(tr *pipelinev1.TaskRun) {
		result := corev1.ConditionFalse
		if reason == "Succeeded" {
			result = corev1.ConditionTrue
		}
		tr.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: result, Reason: reason})
		at := metav1.NewTime(s.clock)
		tr.Status.CompletionTime = &at
		if pod != nil && len(pod.Status.ContainerStatuses) > 0 {
			tr.Status.Steps = []pipelinev1.StepState{{Name: "main", ImageID: "sha256:1", TerminationReason: "Completed",
				ContainerState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}}}}
			if result == corev1.ConditionFalse {
				tr.Status.Steps[0].TerminationReason, tr.Status.Steps[0].Terminated.ExitCode = "Error", 1
			}
		}
	})
}

// kubelet moves a pod one step.
func (s *simulation) kubelet(pod *corev1.Pod, succeeds bool) {
	switch {
	case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
	case pod.DeletionTimestamp != nil:
		s.note("the kubelet has ended pod %s", pod.Name)
		s.server.by = byKubelet
		s.server.remove(s.server.keyOf(pod))
	case pod.Spec.NodeName == "":
		edit(s.server, byKubelet, pod, func(pod *corev1.Pod) { pod.Spec.NodeName, pod.Status.Phase = "node", corev1.PodPending })
	case pod.Status.Phase == corev1.PodPending:
		s.note("the kubelet starts pod %s", pod.Name)
		edit(s.server, byKubelet, pod, func(pod *corev1.Pod) {
			pod.Status.Phase = corev1.PodRunning
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "step-main", ImageID: "sha256:1"}}
		})
	default:
		s.note("pod %s ends, succeeds=%t", pod.Name, succeeds)
		edit(s.server, byKubelet, pod, func(pod *corev1.Pod) {
			pod.Status.Phase = corev1.PodFailed
			if succeeds {
				pod.Status.Phase = corev1.PodSucceeded
			}
		})
	}
}

// collect lets the garbage collector look at an object: it goes when its owner is
// gone.
func (s *simulation) collect(obj client.Object) {
	for _, ref := range obj.GetOwnerReferences() {
		owner, there := s.server.objects[key{ref.Kind, named(obj.GetNamespace(), ref.Name)}]
		if !there || owner.GetUID() != ref.UID {
			s.server.by = byGC
			must(s.server.delete(s.server.keyOf(obj), nil))
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Who a run belongs to, and what it works on.
func owner(obj client.Object) string    { return obj.GetLabels()[v1alpha1.LabelExecutionUID] }
func targetOf(obj client.Object) string { return obj.GetAnnotations()[v1alpha1.AnnotationTarget] }

// alive says whether an object may still act on a target: a run until it has ended
// or is deleted, a TaskRun until it has ended, a pod until its containers have.
func alive(obj client.Object) bool {
	switch o := obj.(type) {
	case *pipelinev1.PipelineRun:
		return !o.IsDone() && o.DeletionTimestamp == nil && !occupies(o)
	case *pipelinev1.TaskRun:
		return !o.IsDone()
	case *corev1.Pod:
		return o.Status.Phase != corev1.PodSucceeded && o.Status.Phase != corev1.PodFailed
	}
	return false
}

// occupies: it was created cancelled, to take a name.
func occupies(pr *pipelinev1.PipelineRun) bool {
	return pr.Annotations["kubernaut.ai/occupant"] == "true"
}

// epoch is when a simulation begins: so late that no deadline made of its clock
// passes on the clock of the machine.
var epoch = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
