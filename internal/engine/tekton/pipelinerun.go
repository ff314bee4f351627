package tekton

import (
	"maps"
	"slices"
	"strconv"
	"strings"

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
		ObjectMeta: metav1.ObjectMeta{
			Namespace:  v1alpha1.WorkflowNamespace,
			Name:       spec.Name,
			Finalizers: []string{v1alpha1.RunFinalizer},
			Labels: map[string]string{
				v1alpha1.LabelExecutionUID: string(spec.Execution),
				v1alpha1.LabelTarget:       labelValue(lastPart(spec.Record)),
				v1alpha1.LabelWorkflow:     labelValue(spec.WorkflowID),
			},
			Annotations: map[string]string{
				v1alpha1.AnnotationExecution:     spec.ExecutionName,
				v1alpha1.AnnotationTarget:        spec.Target,
				v1alpha1.AnnotationWorkflow:      spec.WorkflowID + "@" + spec.Version,
				v1alpha1.AnnotationCorrelationID: spec.CorrelationID,
				v1alpha1.AnnotationFencingToken:  strconv.FormatInt(spec.FencingToken, 10),
			},
		},
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

// lastPart is what follows the last dash: the hash in the name of a record.
func lastPart(name string) string { return name[strings.LastIndexByte(name, '-')+1:] }

// labelValue cuts text to a valid value of a label.
func labelValue(text string) string {
	valid := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '_'
	}, text)
	return strings.Trim(valid[:min(len(valid), 63)], "-_.")
}
