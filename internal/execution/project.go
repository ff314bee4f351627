package execution

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Project says what status is to be after a decision: everything but the
// condition AuditRecorded, which is for who talks to the audit trail.
func Project(s Snapshot, d Decision) v1alpha1.WorkflowExecutionStatus {
	next := *s.Execution.Status.DeepCopy()
	next.UserCodeStarted = next.UserCodeStarted || s.Run.CodeStarted
	next.Waiting = s.waitingSince(d.Waiting)
	if next.Workflow == nil && (s.Holds() || next.PipelineRunRef != nil) {
		next.Workflow = s.Workflow.Resolved.DeepCopy()
	}
	if next.Workflow == nil && next.PipelineRunRef != nil && s.Workflow.Problem != nil { // nobody will ever say what was started
		next.Workflow = &v1alpha1.ResolvedWorkflow{Engine: next.PipelineRunRef.Engine}
	}
	if s.ended() {
		return next
	}
	next.ObservedGeneration = s.Execution.Generation
	s.projectTarget(&next, d)
	s.projectRun(&next)
	if d.Ending != nil {
		s.projectEnding(&next, *d.Ending)
	} else {
		s.projectProgress(&next, d)
	}
	return next
}

// waitingSince keeps the beginning of a wait that goes on.
func (s Snapshot) waitingSince(w *v1alpha1.Waiting) *v1alpha1.Waiting {
	if w == nil {
		return nil
	}
	w = w.DeepCopy()
	w.Message = s.mask(w.Message)
	w.Since = metav1.NewTime(s.Now)
	if before := s.Execution.Status.Waiting; before != nil && before.Reason == w.Reason {
		w.Since = before.Since
	}
	if w.Until != nil { // seconds are what is stored; a fraction would look like a change
		*w.Until = w.Until.Rfc3339Copy()
	}
	w.Since = w.Since.Rfc3339Copy()
	return w
}

func (s Snapshot) set(st *v1alpha1.WorkflowExecutionStatus, c metav1.Condition) {
	c.ObservedGeneration = s.Execution.Generation
	c.LastTransitionTime = metav1.NewTime(s.Now)
	c.Message = cut(s.mask(c.Message), 4096)
	meta.SetStatusCondition(&st.Conditions, c)
}

func (s Snapshot) projectTarget(st *v1alpha1.WorkflowExecutionStatus, d Decision) {
	if s.Target.Key == "" {
		return
	}
	if st.Target == nil {
		st.Target = &v1alpha1.ResolvedTarget{Key: s.Target.Key, Record: s.Target.Record}
	}
	if s.Holds() {
		since := s.Target.Status.Holder.Since
		st.Target.LockedAt, st.Target.FencingToken = &since, s.Target.Status.FencingToken
		s.set(st, metav1.Condition{
			Type: v1alpha1.ConditionTargetLocked, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonLocked,
			Message: fmt.Sprintf("RemediationTarget %s/%s names this execution as its holder", v1alpha1.SystemNamespace, s.Target.Record),
		})
		return
	}
	c := metav1.Condition{Type: v1alpha1.ConditionTargetLocked, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonWaiting}
	if d.Waiting != nil {
		c.Reason, c.Message = d.Waiting.Reason, d.Waiting.Message
	}
	s.set(st, c)
}

func (s Snapshot) projectRun(st *v1alpha1.WorkflowExecutionStatus) {
	r := s.Run
	if r.State == RunAbsent || !r.Ours || r.Occupant {
		return
	}
	created := metav1.NewTime(r.Created)
	st.StartTime = &created
	st.PipelineRunRef = &v1alpha1.RunReference{Name: r.Name, Namespace: r.Namespace, UID: r.UID, Engine: r.Engine}
	if st.Workflow != nil && st.Workflow.Digest == "" {
		st.Workflow.Digest = r.Digest
	}
	s.projectRunStatus(st)
	s.set(st, metav1.Condition{
		Type: v1alpha1.ConditionPipelineCreated, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonCreated,
		Message: fmt.Sprintf("run %s/%s exists", r.Namespace, r.Name),
	})
}

// projectRunStatus follows a run from task to task and at its end. Words that an
// active run changes in between are not worth a write of their own.
func (s Snapshot) projectRunStatus(st *v1alpha1.WorkflowExecutionStatus) {
	r := s.Run
	now := &v1alpha1.RunStatus{
		Status: metav1.ConditionUnknown, Reason: r.Reason, Message: cut(s.mask(r.Message), maxEvidence),
		CompletedTasks: r.CompletedTasks, TotalTasks: r.TotalTasks,
	}
	if r.State == RunFinished {
		now.Status = conditionOf(r.Succeeded)
	}
	before := st.PipelineRunStatus
	same := before != nil && before.Status == now.Status && before.CompletedTasks == now.CompletedTasks
	ending := now.TotalTasks > 0 && now.CompletedTasks == now.TotalTasks // the run ends by itself in a moment
	if now.Status == metav1.ConditionUnknown && (same || before != nil && ending) {
		return
	}
	st.PipelineRunStatus = now
}

func (s Snapshot) projectProgress(st *v1alpha1.WorkflowExecutionStatus, d Decision) {
	reason, message := v1alpha1.ReasonPending, ""
	st.Phase = v1alpha1.PhasePending
	if s.Run.Ours && s.Run.State != RunAbsent && !s.Run.Occupant || st.PipelineRunRef != nil {
		st.Phase = v1alpha1.PhaseRunning
		reason = v1alpha1.ReasonRunning
		s.set(st, metav1.Condition{Type: v1alpha1.ConditionPipelineRunning, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRunning})
	}
	if d.Waiting != nil && !d.Concludes() {
		reason, message = d.Waiting.Reason, d.Waiting.Message
	}
	s.set(st, metav1.Condition{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionUnknown, Reason: reason, Message: message})
}

func (s Snapshot) projectEnding(st *v1alpha1.WorkflowExecutionStatus, e Ending) {
	at := metav1.NewTime(e.At).Rfc3339Copy() // what is stored, so that what is derived from it stays the same
	st.Phase, st.CompletionTime, st.Waiting = e.Phase, &at, nil
	st.FailureDetails, st.SkipDetails = e.Failure, e.Skip
	if e.Phase == v1alpha1.PhaseCancelled {
		st.Cancel = s.Execution.Spec.Cancel.DeepCopy()
	}
	if st.StartTime != nil {
		st.Duration = &metav1.Duration{Duration: at.Sub(st.StartTime.Time)}
	}
	if e.Failure != nil {
		st.UserCodeStarted = e.Failure.WasExecutionFailure
	}
	s.set(st, metav1.Condition{
		Type: v1alpha1.ConditionSucceeded, Status: conditionOf(e.Phase == v1alpha1.PhaseCompleted), Reason: e.Reason, Message: e.Message,
	})
	if s.Holds() {
		s.set(st, metav1.Condition{
			Type: v1alpha1.ConditionTargetLocked, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonReleased,
			Message: "the run has ended; the target is released as soon as everything it started has stopped",
		})
	}
	if st.PipelineRunRef != nil {
		s.set(st, metav1.Condition{Type: v1alpha1.ConditionPipelineRunning, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonStopped})
	}
}
