package tekton

import (
	"slices"
	"strings"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/apis"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/engine/pod"
	"kubernaut.ai/kubernaut/internal/execution"
)

// World is what Kubernetes and Tekton say of one run.
type World struct {
	Run      *pipelinev1.PipelineRun // nil: absent
	TaskRuns []pipelinev1.TaskRun
	Pods     []corev1.Pod
}

// Translate says in the engine-neutral words of package execution what Tekton
// says of a run. It is pure: testdata holds what Tekton really reports.
func Translate(w World, ref engine.Ref) execution.Run {
	run := execution.Run{State: execution.RunAbsent, Name: ref.Name, Namespace: v1alpha1.WorkflowNamespace}
	if w.Run != nil {
		translateRun(&run, w.Run, ref)
	}
	run.Tasks = tasks(w)
	run.CompletedTasks = completed(w)
	run.CodeStarted = codeStarted(w)
	run.Hold = hold(w)
	run.Alive, run.Orphans, run.Unended = alive(w)
	run.LostChild, run.LostReason = vanishing(w, &run)
	return run
}

func translateRun(run *execution.Run, pr *pipelinev1.PipelineRun, ref engine.Ref) {
	run.UID = pr.UID
	run.Ours = ref.Owns(pr)
	run.Occupant = pr.Annotations[engine.AnnotationOccupant] == "true"
	run.Deleting = pr.DeletionTimestamp != nil
	run.Kept = engine.HasFinalizer(pr)
	run.Created = pr.CreationTimestamp.Time
	run.Stopping = stopping(pr.Spec.Status)
	run.StopReason = v1alpha1.FailureReason(pr.Annotations[engine.AnnotationStopReason])
	run.State = execution.RunActive
	if pr.Status.StartTime != nil {
		run.Started = pr.Status.StartTime.Time
	}
	if c := pr.Status.GetCondition(apis.ConditionSucceeded); c != nil {
		run.Reason, run.Message = c.Reason, c.Message
		if !c.IsUnknown() {
			run.State, run.Succeeded = execution.RunFinished, c.IsTrue()
			run.Cancelled, run.TimedOut = cancelled[c.Reason], timedOut[c.Reason]
			run.Finished = c.LastTransitionTime.Inner.Time
		}
	}
	if pr.Status.CompletionTime != nil {
		run.Finished = pr.Status.CompletionTime.Time
	}
	if spec := pr.Status.PipelineSpec; spec != nil {
		run.TotalTasks = int32(len(spec.Tasks) + len(spec.Finally))
	}
	if p := pr.Status.Provenance; p != nil && p.RefSource != nil {
		if hex := p.RefSource.Digest["sha256"]; hex != "" {
			run.Digest = "sha256:" + hex
		}
	}
}

// cancelled and timedOut are the reasons of a run that was stopped, by somebody or
// by its timeout.
var (
	cancelled = map[string]bool{"Cancelled": true, "CancelledRunningFinally": true, "StoppedRunningFinally": true}
	timedOut  = map[string]bool{"PipelineRunTimeout": true, "PipelineRunTimeoutRunningFinally": true}
)

func stopping(s pipelinev1.PipelineRunSpecStatus) v1alpha1.CancelMode {
	switch s {
	case pipelinev1.PipelineRunSpecStatusCancelled:
		return v1alpha1.CancelImmediate
	case pipelinev1.PipelineRunSpecStatusCancelledRunFinally, pipelinev1.PipelineRunSpecStatusStoppedRunFinally:
		return v1alpha1.CancelGraceful
	}
	return ""
}

// tasks are the TaskRuns, in the order of the pipeline.
func tasks(w World) []execution.Task {
	var all []execution.Task
	for i := range w.TaskRuns {
		tr := &w.TaskRuns[i]
		t := execution.Task{Name: tr.Labels[labelPipelineTask], Index: taskIndex(w.Run, tr.Labels[labelPipelineTask])}
		if c := tr.Status.GetCondition(apis.ConditionSucceeded); c != nil {
			t.Failed, t.Reason, t.Message = c.IsFalse(), c.Reason, c.Message
		}
		for _, s := range tr.Status.Steps {
			step := execution.Step{Name: s.Name, Created: s.ImageID != "", Reason: s.TerminationReason}
			if s.Terminated != nil {
				step.Terminated, step.ExitCode = true, s.Terminated.ExitCode
				if step.Reason == "" || s.Terminated.Reason == "OOMKilled" {
					step.Reason = s.Terminated.Reason
				}
			}
			t.Steps = append(t.Steps, step)
		}
		all = append(all, t)
	}
	return all
}

// completed counts the tasks that have ended, or were skipped, as Tekton does.
func completed(w World) int32 {
	if w.Run == nil {
		return 0
	}
	done := len(w.Run.Status.SkippedTasks)
	for i := range w.TaskRuns {
		if w.TaskRuns[i].IsDone() {
			done++
		}
	}
	return int32(done)
}

func taskIndex(pr *pipelinev1.PipelineRun, name string) int32 {
	if pr == nil || pr.Status.PipelineSpec == nil {
		return -1
	}
	spec := pr.Status.PipelineSpec
	for i := range spec.Tasks {
		if spec.Tasks[i].Name == name {
			return int32(i)
		}
	}
	for i := range spec.Finally {
		if spec.Finally[i].Name == name {
			return int32(len(spec.Tasks) + i)
		}
	}
	return -1
}

// codeStarted: a container of the workflow has shown an image id, which it does
// when it is created, or something is missing that could have shown it.
func codeStarted(w World) bool {
	known := map[string]bool{}
	for i := range w.TaskRuns {
		tr := &w.TaskRuns[i]
		known[tr.Name] = true
		if anyImage(tr.Status.TaskRunStatusFields) || stoppedUnseen(tr, w.Pods) {
			return true
		}
	}
	for i := range w.Pods {
		if pod.Started(&w.Pods[i]) {
			return true
		}
	}
	if w.Run == nil {
		return false
	}
	for _, child := range w.Run.Status.ChildReferences {
		if child.Kind != "TaskRun" || !known[child.Name] {
			return true
		}
	}
	return false
}

// early are what Tekton last said of the pod of a TaskRun that it then stopped, when
// no container of a step could have been created yet.
var early = []string{
	`"PodScheduled":"False"`, `"PodReadyToStartContainers":"False"`, `"Initialized":"False"`,
	"[PullImageFailed]", "[ExceededResourceQuota]", "[ExceededNodeResources]", "[CreateContainerConfigError]",
}

// stoppedUnseen: a TaskRun was stopped and its pod is gone, and the last that is
// known of it does not exclude that its containers were just being created.
func stoppedUnseen(tr *pipelinev1.TaskRun, pods []corev1.Pod) bool {
	c := tr.Status.GetCondition(apis.ConditionSucceeded)
	if c == nil || tr.Status.PodName == "" || c.Reason != string(pipelinev1.TaskRunReasonTimedOut) && c.Reason != string(pipelinev1.TaskRunReasonCancelled) {
		return false
	}
	for i := range pods {
		if pods[i].Name == tr.Status.PodName {
			return false // it tells by itself
		}
	}
	for _, text := range early {
		if strings.Contains(c.Message, text) {
			return false
		}
	}
	return true
}

func anyImage(st pipelinev1.TaskRunStatusFields) bool {
	for _, s := range st.Steps {
		if s.ImageID != "" {
			return true
		}
	}
	for _, s := range st.Sidecars {
		if s.ImageID != "" {
			return true
		}
	}
	for i := range st.RetriesStatus {
		if anyImage(st.RetriesStatus[i].TaskRunStatusFields) {
			return true
		}
	}
	return false
}

// holds are what a TaskRun's reason says the run waits for.
var holds = map[string]v1alpha1.FailureReason{
	"ExceededResourceQuota":      v1alpha1.FailureResourceExhausted,
	"ExceededNodeResources":      v1alpha1.FailureResourceExhausted,
	"PullImageFailed":            v1alpha1.FailureImagePullBackOff,
	"CreateContainerConfigError": v1alpha1.FailureConfigurationError,
}

// hold says what an unfinished run waits for, if it waits.
func hold(w World) *execution.Hold {
	for i := range w.TaskRuns {
		c := w.TaskRuns[i].Status.GetCondition(apis.ConditionSucceeded)
		if c == nil || !c.IsUnknown() {
			continue
		}
		if reason, ok := holds[c.Reason]; ok {
			return &execution.Hold{Reason: reason, Message: c.Reason + ": " + c.Message}
		}
	}
	for i := range w.Pods {
		if h := pod.Hold(&w.Pods[i]); h != nil {
			return h
		}
	}
	return nil
}

// alive names what may still act, which of it nobody has asked to stop, and which
// pods Tekton should have ended.
func alive(w World) (all, unasked, unended []string) {
	for i := range w.TaskRuns {
		tr := &w.TaskRuns[i]
		if tr.IsDone() {
			continue
		}
		all = append(all, "TaskRun "+tr.Name)
		if tr.Spec.Status == "" {
			unasked = append(unasked, "TaskRun "+tr.Name)
		}
	}
	for i := range w.Pods {
		if podAlive(&w.Pods[i]) {
			all = append(all, "Pod "+w.Pods[i].Name)
		}
	}
	for _, p := range leftovers(w.Pods, w.TaskRuns) {
		unended = append(unended, "Pod "+p.Name)
		if !adopted(p, w.TaskRuns) {
			unasked = append(unasked, "Pod "+p.Name)
		}
	}
	return all, unasked, unended
}

func podAlive(p *corev1.Pod) bool {
	if p.Labels["app.kubernetes.io/component"] == "affinity-assistant" { // holds a node's place and runs nothing of ours
		return false
	}
	return pod.Alive(p)
}

// leftovers are the live pods that nobody deletes and whose TaskRun is done or gone.
func leftovers(pods []corev1.Pod, taskRuns []pipelinev1.TaskRun) []*corev1.Pod {
	unfinished := map[string]bool{}
	for i := range taskRuns {
		unfinished[taskRuns[i].Name] = !taskRuns[i].IsDone()
	}
	var found []*corev1.Pod
	for i := range pods {
		if p := &pods[i]; podAlive(p) && p.DeletionTimestamp == nil && !unfinished[p.Labels[labelTaskRun]] {
			found = append(found, p)
		}
	}
	return found
}

// adopted: a TaskRun knows of the pod and ends it. One that is gone ends nothing, nor
// does one that has never heard of the pod, as when the answer to its creation was lost.
func adopted(p *corev1.Pod, taskRuns []pipelinev1.TaskRun) bool {
	return slices.ContainsFunc(taskRuns, func(tr pipelinev1.TaskRun) bool {
		return tr.Name == p.Labels[labelTaskRun] && tr.Status.PodName == p.Name
	})
}
