package target

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Rules are the durations and limits of the installation.
type Rules struct {
	Cooldown    time.Duration // after a completed run; 0: none
	BackoffBase time.Duration // after the first failure before the run could begin
	BackoffMax  time.Duration
	MaxFailures int32 // of that kind in a row
}

// Outcome is what the record learns when its holder has ended.
type Outcome struct {
	Execution   types.UID
	Name        string // namespace/name
	WorkflowID  string
	Phase       v1alpha1.Phase
	Reason      v1alpha1.FailureReason
	CodeStarted bool
	At          time.Time
	// Late: it had ended before the target was taken for it, and never knew.
	Late bool
	// CorrelationID of the execution's audit trail.
	CorrelationID string
}

// OutcomeOf reads the outcome of an execution that has ended from its status.
func OutcomeOf(ex *v1alpha1.WorkflowExecution) Outcome {
	o := Outcome{
		Execution: ex.UID, Name: ex.Namespace + "/" + ex.Name, WorkflowID: ex.Spec.WorkflowRef.WorkflowID,
		Phase: ex.Status.Phase, CodeStarted: ex.Status.UserCodeStarted, CorrelationID: ex.CorrelationID(),
		Late: ex.Status.Target == nil || ex.Status.Target.LockedAt == nil,
	}
	if ex.Status.CompletionTime != nil {
		o.At = ex.Status.CompletionTime.Time
	}
	if f := ex.Status.FailureDetails; f != nil {
		o.Reason = f.Reason
		o.CodeStarted = o.CodeStarted || f.WasExecutionFailure
	}
	return o
}

// Take makes somebody the holder of a free target.
func Take(st v1alpha1.RemediationTargetStatus, h v1alpha1.Holder) v1alpha1.RemediationTargetStatus {
	next := *st.DeepCopy()
	next.Holder = &h
	if next.FencingToken++; st.FencingToken == 0 {
		next.FencingToken = h.Since.UnixMicro()
	}
	next.Message = describe(next)
	return next
}

// Release frees a target and notes how its holder ended: outcome, cooldown, count
// and block are one write. Of one that came late nothing is noted, unless code of it
// has started all the same: how it ended says nothing about the target.
func (r Rules) Release(st v1alpha1.RemediationTargetStatus, o Outcome) v1alpha1.RemediationTargetStatus {
	next := *st.DeepCopy()
	next.Holder = nil
	if o.Late && !o.CodeStarted {
		next.Message = describe(next)
		return next
	}
	h := historyOf(&next, o.WorkflowID)
	at := metav1.NewTime(o.At)
	h.LastOutcome = &v1alpha1.Outcome{Execution: o.Execution, Name: o.Name, Phase: o.Phase, Reason: o.Reason, At: at}
	switch {
	case o.Phase == v1alpha1.PhaseCompleted:
		h.PreExecutionFailures, h.NextAllowedTime, h.Block = 0, nil, nil
		h.CooldownUntil = after(o.At, r.Cooldown)
	case o.CodeStarted:
		h.PreExecutionFailures, h.NextAllowedTime, h.CooldownUntil = 0, nil, nil
		h.Block = block(o, v1alpha1.SkipPreviousExecutionFailed)
	case o.Phase == v1alpha1.PhaseFailed:
		h.PreExecutionFailures++
		h.NextAllowedTime = after(o.At, r.backoff(h.PreExecutionFailures))
		if h.PreExecutionFailures >= r.MaxFailures {
			h.Block = block(o, v1alpha1.SkipExhaustedRetries)
		}
	}
	next.Message = describe(next)
	return next
}

func block(o Outcome, reason v1alpha1.SkipReason) *v1alpha1.Block {
	return &v1alpha1.Block{
		ID: o.Execution, Name: o.Name, Reason: reason, Failure: o.Reason, Since: metav1.NewTime(o.At), CorrelationID: o.CorrelationID,
	}
}

func after(at time.Time, d time.Duration) *metav1.Time {
	if d <= 0 {
		return nil
	}
	t := metav1.NewTime(at.Add(d))
	return &t
}

// backoff doubles with each failure in a row, up to a maximum.
func (r Rules) backoff(failures int32) time.Duration {
	d := r.BackoffBase
	for i := int32(1); i < failures && d < r.BackoffMax; i++ {
		d *= 2
	}
	return min(d, r.BackoffMax)
}

// Clear lets the next run of a blocked workflow through, if the block that was
// looked at still stands. It says whether it did.
func Clear(st v1alpha1.RemediationTargetStatus, c v1alpha1.ClearBlock, now time.Time) (v1alpha1.RemediationTargetStatus, bool) {
	next := *st.DeepCopy()
	i := slices.IndexFunc(next.Workflows, func(h v1alpha1.WorkflowHistory) bool { return h.WorkflowID == c.Workflow })
	if i < 0 || next.Workflows[i].Block == nil || next.Workflows[i].Block.ID != c.BlockID {
		return st, false
	}
	next.LastCleared = &v1alpha1.ClearedBlock{
		Workflow: c.Workflow, BlockID: c.BlockID, Reason: c.Reason, ClearedBy: c.ClearedBy, At: metav1.NewTime(now),
		CorrelationID: next.Workflows[i].Block.CorrelationID,
	}
	next.Workflows[i].Block, next.Workflows[i].NextAllowedTime = nil, nil
	next.Message = describe(next)
	return next, true
}

// Silent says whether a record says nothing any more: nobody holds the target,
// nothing keeps a workflow off it, and the last thing that happened is longer ago
// than keep.
func Silent(rt *v1alpha1.RemediationTarget, now time.Time, keep time.Duration) bool {
	st := rt.Status
	last := rt.CreationTimestamp.Time
	later := func(t *metav1.Time) {
		if t != nil && t.After(last) {
			last = t.Time
		}
	}
	for _, h := range st.Workflows {
		if h.Block != nil || h.PreExecutionFailures > 0 {
			return false
		}
		if h.LastOutcome != nil {
			later(&h.LastOutcome.At)
		}
		later(h.CooldownUntil)
		later(h.NextAllowedTime)
	}
	if st.LastCleared != nil {
		later(&st.LastCleared.At)
		if !st.LastCleared.Recorded {
			return false
		}
	}
	return st.Holder == nil && now.After(last.Add(keep))
}

func historyOf(st *v1alpha1.RemediationTargetStatus, workflowID string) *v1alpha1.WorkflowHistory {
	for i := range st.Workflows {
		if st.Workflows[i].WorkflowID == workflowID {
			return &st.Workflows[i]
		}
	}
	st.Workflows = append(st.Workflows, v1alpha1.WorkflowHistory{WorkflowID: workflowID})
	slices.SortFunc(st.Workflows, func(a, b v1alpha1.WorkflowHistory) int { return strings.Compare(a.WorkflowID, b.WorkflowID) })
	return historyOf(st, workflowID)
}

// describe is the answer of `kubectl get rt`: who holds it, what is kept off it
// until when, and why.
func describe(st v1alpha1.RemediationTargetStatus) string {
	var says []string
	if h := st.Holder; h != nil {
		says = append(says, fmt.Sprintf("held by %s/%s (%s)", h.Namespace, h.Name, h.WorkflowID))
	}
	for _, h := range st.Workflows {
		switch {
		case h.Block != nil:
			says = append(says, fmt.Sprintf("%s is blocked: %s after %s of %s", h.WorkflowID, h.Block.Reason, h.Block.Failure, h.Block.Name))
		case h.NextAllowedTime != nil:
			says = append(says, fmt.Sprintf("%s failed %d times, next try at %s", h.WorkflowID, h.PreExecutionFailures, h.NextAllowedTime.UTC().Format(time.RFC3339)))
		case h.CooldownUntil != nil:
			says = append(says, fmt.Sprintf("%s completed, cooldown until %s", h.WorkflowID, h.CooldownUntil.UTC().Format(time.RFC3339)))
		}
	}
	if len(says) == 0 {
		return "free"
	}
	return strings.Join(says, "; ")
}
