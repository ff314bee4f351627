package follow

import (
	"context"
	"fmt"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Step is one step of a run as the cluster shows it.
type Step struct {
	Task, Name     string
	Pod, Container string // its pod is empty before there is one
	Began, Ended   bool
	ExitCode       int32
}

// StepsOf lists the steps of the run of an execution, task by task.
func StepsOf(ctx context.Context, c client.Reader, ex *v1alpha1.WorkflowExecution) ([][]Step, error) {
	what := kindOf(ex)
	list := what.list()
	if err := c.List(ctx, list, what.scope(ex)...); err != nil {
		return nil, fmt.Errorf("listing the tasks of run %s/%s: %w", ex.Status.PipelineRunRef.Namespace, ex.Status.PipelineRunRef.Name, err)
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return nil, err
	}
	var all [][]Step
	for _, item := range items {
		all = append(all, what.steps(item))
	}
	return all, nil
}

// kind is where an engine shows the steps of its runs.
type kind struct {
	list  func() client.ObjectList
	scope func(*v1alpha1.WorkflowExecution) []client.ListOption
	steps func(runtime.Object) []Step
}

func kindOf(ex *v1alpha1.WorkflowExecution) kind {
	if ex.Engine() == "job" {
		return kind{func() client.ObjectList { return &corev1.PodList{} }, ofJob, stepsOfPod}
	}
	return kind{func() client.ObjectList { return &tekton.TaskRunList{} }, ofPipelineRun, stepsOfTask}
}

func ofPipelineRun(ex *v1alpha1.WorkflowExecution) []client.ListOption {
	run := ex.Status.PipelineRunRef
	return []client.ListOption{client.InNamespace(run.Namespace), client.MatchingLabels{"tekton.dev/pipelineRun": run.Name}}
}

func ofJob(ex *v1alpha1.WorkflowExecution) []client.ListOption {
	run := ex.Status.PipelineRunRef
	return []client.ListOption{client.InNamespace(run.Namespace), client.MatchingLabels{v1alpha1.LabelExecutionUID: string(ex.UID)}}
}

func stepsOfTask(obj runtime.Object) []Step {
	t, ok := obj.(*tekton.TaskRun)
	if !ok {
		return nil
	}
	name := t.Labels["tekton.dev/pipelineTask"]
	if name == "" {
		name = t.Name
	}
	var all []Step
	for _, s := range t.Status.Steps {
		step := Step{Task: name, Name: s.Name, Pod: t.Status.PodName, Container: s.Container,
			Began: s.ImageID != "" && (s.Running != nil || s.Terminated != nil), Ended: s.Terminated != nil}
		if s.Terminated != nil {
			step.ExitCode = s.Terminated.ExitCode
		}
		all = append(all, step)
	}
	return all
}

// stepsOfPod is the one step of a Job.
func stepsOfPod(obj runtime.Object) []Step {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return nil
	}
	var all []Step
	for _, c := range p.Status.ContainerStatuses {
		step := Step{Task: "job", Name: c.Name, Pod: p.Name, Container: c.Name,
			Began: c.ImageID != "" && (c.State.Running != nil || c.State.Terminated != nil), Ended: c.State.Terminated != nil}
		if c.State.Terminated != nil {
			step.ExitCode = c.State.Terminated.ExitCode
		}
		all = append(all, step)
	}
	return all
}
