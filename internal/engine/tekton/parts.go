package tekton

import (
	"sync"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine/pod"
	"kubernaut.ai/kubernaut/internal/execution"
)

// vanishing names a part whose code had started and that is being taken away, or
// was, before its TaskRun ended. Tekton makes such a part again, and with it code
// that may have done its work.
func vanishing(w World, run *execution.Run) (string, v1alpha1.FailureReason) {
	if w.Run == nil || run.Stopping != "" {
		return "", ""
	}
	pods := podsByTaskRun(w.Pods)
	for i := range w.TaskRuns {
		tr := &w.TaskRuns[i]
		its := pods[tr.Name]
		switch {
		case !tr.IsDone() && tr.Spec.Status == "" && tr.DeletionTimestamp != nil && anyImage(tr.Status.TaskRunStatusFields):
			return "TaskRun " + tr.Name, v1alpha1.FailureExternallyDeleted
		case !tr.IsDone() && tr.Spec.Status == "" && doomed(its, tr):
			return "Pod " + its.Name, pod.Removal(its)
		case run.State == execution.RunFinished && lostItsPod(tr, its):
			return "Pod " + tr.Status.PodName, v1alpha1.FailureExternallyDeleted
		case run.State == execution.RunFinished && run.Reason == string(pipelinev1.PipelineRunReasonFailed) && !tr.IsDone():
			return "TaskRun " + tr.Name, v1alpha1.FailureExternallyDeleted // made again after the run had given up on it
		}
	}
	return "", ""
}

func podsByTaskRun(pods []corev1.Pod) map[string]*corev1.Pod {
	all := map[string]*corev1.Pod{}
	for i := range pods {
		all[pods[i].Labels[labelTaskRun]] = &pods[i]
	}
	return all
}

// doomed: somebody other than Tekton deletes a pod whose code had started. Tekton
// does so itself when the TaskRun's own timeout has passed.
func doomed(p *corev1.Pod, tr *pipelinev1.TaskRun) bool {
	if p == nil || p.DeletionTimestamp == nil || !podAlive(p) {
		return false
	}
	if tr.Spec.Timeout != nil && tr.Spec.Timeout.Duration > 0 && tr.Status.StartTime != nil &&
		!pod.Asked(p).Before(tr.Status.StartTime.Add(tr.Spec.Timeout.Duration)) {
		return false
	}
	return anyImage(tr.Status.TaskRunStatusFields) || pod.Started(p)
}

// lostItsPod: a step failed and the pod is not there any more. A failed step
// leaves its pod behind; one whose pod was deleted under it looks the same.
func lostItsPod(tr *pipelinev1.TaskRun, its *corev1.Pod) bool {
	if its != nil || tr.Status.PodName == "" || !tr.IsFailure() || tr.Spec.Status != "" {
		return false
	}
	for _, c := range tr.Status.Conditions {
		if c.Reason == string(pipelinev1.TaskRunReasonStepFailed) || c.Reason == string(pipelinev1.TaskRunReasonFailed) {
			return true
		}
	}
	return false
}

// parts remembers which parts of active runs had started code, to notice when one
// is made again under its name. A restart forgets them; then only what the latch
// in the execution's status shows is noticed.
type parts struct {
	mu   sync.Mutex
	runs map[types.UID]*started
}

type started struct {
	tasks map[string]part // by name of the TaskRun
	lost  string
}

type part struct{ taskRun, pod types.UID }

func newParts() *parts { return &parts{runs: map[types.UID]*started{}} }

func (p *parts) forget(run types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.runs, run)
}

// follow compares the parts of an active run with those seen before. Only a read
// past the caches, which may be ahead of one another, is believed for good.
func (p *parts) follow(run *execution.Run, w World) {
	if w.Run == nil || !run.Ours {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.runs[w.Run.UID]
	if known == nil {
		known = &started{tasks: map[string]part{}}
		p.runs[w.Run.UID] = known
	}
	lost := known.lost
	if run.State == execution.RunActive && run.Stopping == "" && lost == "" {
		lost = known.changed(w)
		switch {
		case lost == "":
			known.remember(w)
		case run.Fresh:
			known.lost = lost
		}
	}
	if run.LostChild == "" && lost != "" {
		run.LostChild, run.LostReason = lost, v1alpha1.FailureExternallyDeleted
		run.CodeStarted = true
	}
}

// changed names a part that had started code and was unfinished, and is now
// another or gone.
func (s *started) changed(w World) string {
	now := current(w)
	for name, before := range s.tasks {
		after, there := now[name]
		switch {
		case !there || after.taskRun != before.taskRun:
			return "TaskRun " + name
		case before.pod != "" && after.pod != "" && after.pod != before.pod:
			return "the pod of TaskRun " + name
		}
	}
	return ""
}

// remember keeps the parts that are at work with code that has started. The pod knows
// it first: it may be gone before its TaskRun says so. While it is gone, it is the one
// that the next is compared with.
func (s *started) remember(w World) {
	before, now, pods := s.tasks, current(w), podsByTaskRun(w.Pods)
	s.tasks = map[string]part{}
	for i := range w.TaskRuns {
		tr := &w.TaskRuns[i]
		its, was := pods[tr.Name], before[tr.Name]
		switch {
		case tr.IsDone():
		case its == nil && was.taskRun == tr.UID && was.pod != "":
			s.tasks[tr.Name] = was
		case anyImage(tr.Status.TaskRunStatusFields), its != nil && pod.Started(its):
			s.tasks[tr.Name] = now[tr.Name]
		}
	}
}

func current(w World) map[string]part {
	pods := podsByTaskRun(w.Pods)
	now := map[string]part{}
	for i := range w.TaskRuns {
		p := part{taskRun: w.TaskRuns[i].UID}
		if its := pods[w.TaskRuns[i].Name]; its != nil {
			p.pod = its.UID
		}
		now[w.TaskRuns[i].Name] = p
	}
	return now
}
