package tekton

import (
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/execution"
)

// refused turns the API server's answers into a class, and leaves errors as they
// are that say nothing about the wish: behind most internal errors the object may
// have been stored.
func refused(err error, spec engine.Spec) error {
	if err == nil {
		return nil
	}
	refusal := func(reason v1alpha1.FailureReason, passing bool, hint string) error {
		return &engine.Refused{Refusal: execution.Refusal{
			Reason: reason, Passing: passing,
			Message: fmt.Sprintf("creating PipelineRun %s/%s: %s (%s)", v1alpha1.WorkflowNamespace, spec.Name, hint, err),
		}}
	}
	switch {
	case meta.IsNoMatchError(err):
		return refusal(v1alpha1.FailureConfigurationError, false, "Tekton Pipelines is not installed in this cluster")
	case apierrors.IsNotFound(err):
		return refusal(v1alpha1.FailureConfigurationError, false, "the namespace or the kind does not exist")
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota"):
		return refusal(v1alpha1.FailureResourceExhausted, true, "a quota of the namespace is used up")
	case apierrors.IsForbidden(err):
		return refusal(v1alpha1.FailureForbidden, false, "the controller's account may not")
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return refusal(v1alpha1.FailureConfigurationError, false, "the API server or Tekton's webhook refuses it")
	case apierrors.IsTooManyRequests(err), apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook"):
		return refusal(v1alpha1.FailureUnknown, true, "the API server or Tekton's webhook does not answer")
	}
	return fmt.Errorf("creating PipelineRun %s/%s: %w", v1alpha1.WorkflowNamespace, spec.Name, err)
}
