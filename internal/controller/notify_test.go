package controller

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// stands is an execution with these conditions.
func stands(phase v1alpha1.Phase, conditions ...metav1.Condition) *v1alpha1.WorkflowExecution {
	ex := &v1alpha1.WorkflowExecution{}
	ex.Status.Phase, ex.Status.Conditions = phase, conditions
	return ex
}

// Events are the difference of the conditions: nothing is told twice, and nothing
// that has not come to pass.
func TestEventsAreTheDifferenceOfConditions(t *testing.T) {
	condition := func(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
	}
	locked := condition(v1alpha1.ConditionTargetLocked, metav1.ConditionTrue, v1alpha1.ReasonLocked, "it holds the target")
	waits := condition(v1alpha1.ConditionTargetLocked, metav1.ConditionFalse, v1alpha1.ReasonWaiting, "")
	released := condition(v1alpha1.ConditionTargetLocked, metav1.ConditionFalse, v1alpha1.ReasonReleased, "")
	running := condition(v1alpha1.ConditionSucceeded, metav1.ConditionUnknown, v1alpha1.ReasonRunning, "")
	completed := condition(v1alpha1.ConditionSucceeded, metav1.ConditionTrue, v1alpha1.ReasonCompleted, "")
	failed := condition(v1alpha1.ConditionSucceeded, metav1.ConditionFalse, string(v1alpha1.FailureOOMKilled), "step patch")
	skipped := condition(v1alpha1.ConditionSucceeded, metav1.ConditionFalse, string(v1alpha1.SkipResourceBusy), "")
	pending := condition(v1alpha1.ConditionAuditRecorded, metav1.ConditionFalse, v1alpha1.ReasonPending, "")
	away := condition(v1alpha1.ConditionAuditRecorded, metav1.ConditionFalse, v1alpha1.ReasonUnavailable, "refused")
	safe := condition(v1alpha1.ConditionAuditRecorded, metav1.ConditionTrue, v1alpha1.ReasonAcknowledged, "")
	reworded := running
	reworded.Message = "2 of 3 tasks are done"
	ending := stands(v1alpha1.PhasePending, waits, running)
	ending.Status.Waiting = &v1alpha1.Waiting{Reason: v1alpha1.ReasonEnding}
	long := completed
	long.Message = strings.Repeat("x", 2*maxNote)

	const none = v1alpha1.PhasePending
	for _, c := range []struct {
		name          string
		before, after *v1alpha1.WorkflowExecution
		want          []string
	}{
		{"the first look", stands(""), stands(none, waits, running, pending), []string{"Normal Running Succeeded is Unknown"}},
		{"a condition comes true", stands(none, waits), stands(none, locked), []string{"Normal Locked TargetLocked is True: it holds the target"}},
		{"the same again", stands(none, locked, running), stands(none, locked, running), nil},
		{"in other words", stands(none, running), stands(none, reworded), nil},
		{"another reason", stands(none, waits), stands(none, released), []string{"Normal Released TargetLocked is False"}},
		{"the end", stands(none, locked, running), stands(v1alpha1.PhaseCompleted, released, completed),
			[]string{"Normal Released TargetLocked is False", "Normal Completed Succeeded is True"}},
		{"a failure is a warning", stands(none, running), stands(v1alpha1.PhaseFailed, failed), []string{"Warning OOMKilled Succeeded is False: step patch"}},
		{"to be skipped is none", stands(none, running), stands(v1alpha1.PhaseSkipped, skipped), []string{"Normal ResourceBusy Succeeded is False"}},
		{"an audit trail that is behind is a warning", stands(none, pending), stands(none, away), []string{"Warning Unavailable AuditRecorded is False: refused"}},
		{"one that waits for its turn is none", stands(none, away), stands(none, pending), []string{"Normal Pending AuditRecorded is False"}},
		{"it is complete", stands(none, pending), stands(none, safe), []string{"Normal Acknowledged AuditRecorded is True"}},
		{"an end that is announced is not told", stands(none), ending, nil},
		{"it is told when it comes", ending, stands(v1alpha1.PhaseSkipped, waits, skipped), []string{"Normal ResourceBusy Succeeded is False"}},
		{"a note is not longer than may be", stands(none, running), stands(v1alpha1.PhaseCompleted, long),
			[]string{("Normal Completed Succeeded is True: " + long.Message)[:len("Normal Completed ")+maxNote]}},
	} {
		t.Run(c.name, func(t *testing.T) {
			recorder := events.NewFakeRecorder(10)
			Events{recorder}.Changed(c.before, c.after)
			close(recorder.Events)
			var got []string
			for e := range recorder.Events {
				got = append(got, e)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("told %q, want %q", got, c.want)
			}
		})
	}
}
