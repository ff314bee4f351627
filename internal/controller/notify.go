package controller

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Notifier tells of what has changed, after it is written.
type Notifier interface {
	Changed(before, after *v1alpha1.WorkflowExecution)
}

// Events are Kubernetes events: one for each condition that changed its status or
// its reason.
type Events struct{ Recorder events.EventRecorder }

// maxNote is what the events API takes.
const maxNote = 1024

// Changed sends the difference of the conditions. That an execution is about to end
// is told by its end.
func (e Events) Changed(before, after *v1alpha1.WorkflowExecution) {
	if w := after.Status.Waiting; w != nil && w.Reason == v1alpha1.ReasonEnding {
		return
	}
	for i := range after.Status.Conditions {
		c := &after.Status.Conditions[i]
		old := meta.FindStatusCondition(before.Status.Conditions, c.Type)
		if old != nil && old.Status == c.Status && old.Reason == c.Reason {
			continue
		}
		if old == nil && c.Status != metav1.ConditionTrue && c.Type != v1alpha1.ConditionSucceeded { // it has not come to that yet
			continue
		}
		note := c.Type + " is " + string(c.Status)
		if c.Message != "" {
			note += ": " + c.Message
		}
		e.Recorder.Eventf(after, nil, kindOf(after, c), c.Reason, c.Type, "%s", note[:min(len(note), maxNote)])
	}
}

// kindOf calls a failure, and an audit trail that is behind, a warning.
func kindOf(ex *v1alpha1.WorkflowExecution, c *metav1.Condition) string {
	failed := c.Type == v1alpha1.ConditionSucceeded && ex.Status.Phase == v1alpha1.PhaseFailed
	behind := c.Type == v1alpha1.ConditionAuditRecorded && c.Status == metav1.ConditionFalse && c.Reason != v1alpha1.ReasonPending
	if failed || behind {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}
