package tekton

import (
	"maps"
	"slices"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
)

// pipelineRun is the PipelineRun of a run. It is a pure function of the spec: the
// same wish is the same object.
func pipelineRun(spec engine.Spec) *pipelinev1.PipelineRun {
	return &pipelinev1.PipelineRun{
		ObjectMeta: spec.ObjectMeta(),
		Spec: pipelinev1.PipelineRunSpec{
			PipelineRef:     bundle(spec),
			Params:          params(spec),
			Timeouts:        &pipelinev1.TimeoutFields{Pipeline: &metav1.Duration{Duration: spec.Timeout}},
			TaskRunTemplate: pipelinev1.PipelineTaskRunTemplate{ServiceAccountName: spec.ServiceAccount},
			Workspaces:      workspaces(spec),
		},
	}
}

func bundle(spec engine.Spec) *pipelinev1.PipelineRef {
	ref := pipelinev1.ResolverRef{
		Resolver: "bundles",
		Params: pipelinev1.Params{
			stringParam("bundle", spec.Image),
			stringParam("name", v1alpha1.PipelineName),
			stringParam("kind", "pipeline"),
		},
	}
	if spec.PullSecret != "" {
		ref.Params = append(ref.Params, stringParam("secret", spec.PullSecret))
	}
	return &pipelinev1.PipelineRef{ResolverRef: ref}
}

func stringParam(name, value string) pipelinev1.Param {
	return pipelinev1.Param{Name: name, Value: *pipelinev1.NewStructuredValues(value)}
}

// params are sorted, with the target last.
func params(spec engine.Spec) pipelinev1.Params {
	var all pipelinev1.Params
	for _, name := range slices.Sorted(maps.Keys(spec.Parameters)) {
		if name != v1alpha1.TargetParameter {
			all = append(all, stringParam(name, spec.Parameters[name]))
		}
	}
	return append(all, stringParam(v1alpha1.TargetParameter, spec.Target))
}

func workspaces(spec engine.Spec) []pipelinev1.WorkspaceBinding {
	var all []pipelinev1.WorkspaceBinding
	for _, name := range spec.Secrets {
		all = append(all, pipelinev1.WorkspaceBinding{Name: name, Secret: &corev1.SecretVolumeSource{SecretName: name}})
	}
	for _, name := range spec.ConfigMaps {
		all = append(all, pipelinev1.WorkspaceBinding{
			Name: name, ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}},
		})
	}
	return all
}
