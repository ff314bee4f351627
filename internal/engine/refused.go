package engine

import (
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/execution"
)

// Refused is an answer of the API server to the wish to create a run: it does not
// exist because of this wish.
type Refused struct{ execution.Refusal }

func (e *Refused) Error() string { return string(e.Reason) + ": " + e.Message }

// Refuse turns the API server's answer to the creation of a run of a kind into a
// class, and leaves errors as they are that say nothing about the wish: behind most
// internal errors the object may have been stored.
func Refuse(err error, kind, name string) error {
	if err == nil {
		return nil
	}
	refusal := func(reason v1alpha1.FailureReason, passing bool, hint string) error {
		return &Refused{execution.Refusal{
			Reason: reason, Passing: passing,
			Message: fmt.Sprintf("creating %s %s/%s: %s (%s)", kind, v1alpha1.WorkflowNamespace, name, hint, err),
		}}
	}
	switch {
	case meta.IsNoMatchError(err):
		return refusal(v1alpha1.FailureConfigurationError, false, "this cluster does not have the kind "+kind)
	case apierrors.IsNotFound(err):
		return refusal(v1alpha1.FailureConfigurationError, false, "the namespace or the kind does not exist")
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota"):
		return refusal(v1alpha1.FailureResourceExhausted, true, "a quota of the namespace is used up")
	case apierrors.IsForbidden(err):
		return refusal(v1alpha1.FailureForbidden, false, "the controller's account may not")
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return refusal(v1alpha1.FailureConfigurationError, false, "the API server or an admission webhook refuses it")
	case apierrors.IsTooManyRequests(err), apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook"):
		return refusal(v1alpha1.FailureUnknown, true, "the API server or an admission webhook does not answer")
	}
	return fmt.Errorf("creating %s %s/%s: %w", kind, v1alpha1.WorkflowNamespace, name, err)
}

// Stranger refuses a name that somebody else has taken.
func Stranger(kind, name string) error {
	return &Refused{execution.Refusal{
		Reason: v1alpha1.FailureConfigurationError,
		Message: fmt.Sprintf("a %s named %s/%s exists and belongs to somebody else; it was left alone: delete it and create the execution again",
			kind, v1alpha1.WorkflowNamespace, name),
	}}
}
