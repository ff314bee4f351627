package workflow

import (
	"context"
	"errors"
	"fmt"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// checkPipeline asks Tekton's own rules, and those of the namespace in which
// runs live.
func checkPipeline(p *tekton.Pipeline) error {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf(PipelineFile+": "+format, args...))
	}
	if p.APIVersion != "tekton.dev/v1" || p.Kind != "Pipeline" {
		wrong("it is a %s of %q; a workflow is a Pipeline of tekton.dev/v1", p.Kind, p.APIVersion)
	}
	if p.Name != v1alpha1.PipelineName {
		wrong("metadata.name is %q; runs look for %q in every bundle", p.Name, v1alpha1.PipelineName)
	}
	checked := p.DeepCopy()
	checked.SetDefaults(context.Background())
	if err := checked.Validate(context.Background()); err != nil {
		wrong("%v", err)
	}
	for _, task := range append(p.Spec.Tasks, p.Spec.Finally...) {
		if task.TaskSpec == nil {
			wrong("task %s: it must bring its taskSpec, so that the bundle is whole", task.Name)
			continue
		}
		errs = append(errs, checkSteps(task.Name, &task.TaskSpec.TaskSpec))
	}
	return errors.Join(errs...)
}

func checkSteps(task string, spec *tekton.TaskSpec) error {
	var errs []error
	for _, s := range spec.Steps {
		where := fmt.Sprintf("%s: task %s, step %s", PipelineFile, task, s.Name)
		if s.Name == "" {
			errs = append(errs, fmt.Errorf("%s: it has no name; failures are told by it", where))
		}
		if s.Image == "" {
			errs = append(errs, fmt.Errorf("%s: it has no image", where))
		}
		if s.Script == "" && len(s.Command) == 0 {
			errs = append(errs, fmt.Errorf("%s: it needs a script or a command", where))
		}
		if missing := unrestricted(spec.StepTemplate, s.SecurityContext); missing != "" {
			errs = append(errs, fmt.Errorf("%s: securityContext must say %s; the namespace of the runs is restricted", where, missing))
		}
	}
	return errors.Join(errs...)
}

// unrestricted names the first thing that Pod Security "restricted" asks for
// and neither the step nor the template says.
func unrestricted(template *tekton.StepTemplate, step *corev1.SecurityContext) string {
	said := corev1.SecurityContext{}
	if template != nil && template.SecurityContext != nil {
		said = *template.SecurityContext
	}
	if step != nil {
		overlay(&said, step)
	}
	switch {
	case said.AllowPrivilegeEscalation == nil || *said.AllowPrivilegeEscalation:
		return "allowPrivilegeEscalation: false"
	case said.RunAsNonRoot == nil || !*said.RunAsNonRoot:
		return "runAsNonRoot: true"
	case said.Capabilities == nil || !dropsAll(said.Capabilities):
		return "capabilities: {drop: [ALL]}"
	case said.SeccompProfile == nil || said.SeccompProfile.Type == corev1.SeccompProfileTypeUnconfined:
		return "seccompProfile: {type: RuntimeDefault}"
	}
	return ""
}

func overlay(base, over *corev1.SecurityContext) {
	if over.AllowPrivilegeEscalation != nil {
		base.AllowPrivilegeEscalation = over.AllowPrivilegeEscalation
	}
	if over.RunAsNonRoot != nil {
		base.RunAsNonRoot = over.RunAsNonRoot
	}
	if over.Capabilities != nil {
		base.Capabilities = over.Capabilities
	}
	if over.SeccompProfile != nil {
		base.SeccompProfile = over.SeccompProfile
	}
}

func dropsAll(c *corev1.Capabilities) bool {
	for _, dropped := range c.Drop {
		if dropped == "ALL" {
			return true
		}
	}
	return false
}

// checkParameters compares what workflow.yaml declares with what the Pipeline
// takes: what is given must arrive, and what is taken must be given.
func (w *Workflow) checkParameters() error {
	declared := map[string]bool{v1alpha1.TargetParameter: true}
	var errs []error
	for _, p := range w.Definition.Parameters {
		if declared[p.Name] {
			errs = append(errs, fmt.Errorf("%s: parameter %s is declared twice, or by Kubernaut itself", DefinitionFile, p.Name))
		}
		declared[p.Name] = true
	}
	taken := map[string]bool{}
	for _, p := range w.Pipeline.Spec.Params {
		taken[p.Name] = true
		if !declared[p.Name] {
			errs = append(errs, fmt.Errorf("%s: parameter %s is not declared in %s", PipelineFile, p.Name, DefinitionFile))
		}
	}
	for _, p := range w.Definition.Parameters {
		if !taken[p.Name] {
			errs = append(errs, fmt.Errorf("%s: parameter %s is not taken by the Pipeline", DefinitionFile, p.Name))
		}
	}
	return errors.Join(errs...)
}
