package workflow

import (
	"context"
	"fmt"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// checkPipeline asks Tekton's own rules, and those of the namespace in which
// runs live.
func checkPipeline(found *Problems, p *tekton.Pipeline) {
	if p.APIVersion != "tekton.dev/v1" || p.Kind != "Pipeline" {
		found.add(PipelineFile, "it is a %s of %q; a workflow is a Pipeline of tekton.dev/v1", p.Kind, p.APIVersion)
	}
	if p.Name != v1alpha1.PipelineName {
		found.add(PipelineFile, "metadata.name is %q; runs look for %q in every bundle", p.Name, v1alpha1.PipelineName)
	}
	checked := p.DeepCopy()
	checked.SetDefaults(context.Background())
	if err := checked.Validate(context.Background()); err != nil {
		found.add(PipelineFile, "%v", err)
	}
	for _, task := range append(p.Spec.Tasks, p.Spec.Finally...) {
		if task.TaskSpec == nil {
			found.add(PipelineFile, "task %s: it must bring its taskSpec, so that the bundle is whole", task.Name)
			continue
		}
		checkSteps(found, task.Name, &task.TaskSpec.TaskSpec)
	}
}

func checkSteps(found *Problems, task string, spec *tekton.TaskSpec) {
	for _, s := range spec.Steps {
		wrong := func(format string, args ...any) {
			found.add(PipelineFile, "task %s, step %s: %s", task, s.Name, fmt.Sprintf(format, args...))
		}
		if s.Name == "" {
			wrong("it has no name; failures are told by it")
		}
		if s.Image == "" {
			wrong("it has no image")
		}
		if s.Script == "" && len(s.Command) == 0 {
			wrong("it needs a script or a command")
		}
		if missing := unrestricted(spec.StepTemplate, s.SecurityContext); missing != "" {
			wrong("securityContext must say %s; the namespace of the runs is restricted", missing)
		}
	}
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
