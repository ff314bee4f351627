package execution

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// waiting lists what can happen to an execution that does not hold its target.
var waiting = []rule{
	{"gone", gone},
	{"no-finalizer", noFinalizer},
	{"cancelled-before-start", cancelledBeforeStart},
	{"invalid", invalid},
	{"catalog-unavailable", catalogUnavailable},
	{"target-held", targetHeld},
	{"blocked", blocked},
	{"backoff", backoff},
	{"cooldown", cooldown},
	{"others-first", othersFirst},
	{"paused", paused},
	{"limit-reached", limitReached},
	{"audit-strict", auditStrict},
	{"target-free", targetFree},
}

// announce lets an execution that ends without its target say so first. Whoever
// takes the target later sees that before it starts anything; whoever took it
// earlier is seen in the record, which is read again before the end is written. A
// request to cancel and a deletion stand in the execution and announce themselves.
func (s Snapshot) announce(d Decision) Decision {
	if d.Ending == nil || s.Target.Key == "" || s.announced() || s.Execution.Spec.Cancel != nil || s.deleting() {
		return d
	}
	said := s.wait(v1alpha1.ReasonEnding, "", d.Ending.Message, time.Time{})
	said.Rule = d.Rule
	return said
}

func (s Snapshot) announced() bool {
	w := s.Execution.Status.Waiting
	return w != nil && w.Reason == v1alpha1.ReasonEnding
}

func gone(s Snapshot) (Decision, bool) {
	return Decision{}, s.deleting() && !hasFinalizer(s.Execution)
}

// noFinalizer: nothing may be owed for an execution that can vanish.
func noFinalizer(s Snapshot) (Decision, bool) {
	return Decision{Do: AddFinalizer}, !hasFinalizer(s.Execution)
}

func cancelledBeforeStart(s Snapshot) (Decision, bool) {
	if s.Execution.Spec.Cancel == nil && !s.deleting() {
		return Decision{}, false
	}
	return s.cancelled(s.Now), true
}

func invalid(s Snapshot) (Decision, bool) {
	for _, p := range []*Problem{s.Target.Problem, s.Workflow.Problem, CheckInputs(s.Execution, s.Workflow)} {
		if p != nil {
			d := s.fail(p.Reason, p.Message)
			d.Rule = "invalid/" + p.Rule
			return d, true
		}
	}
	return Decision{}, false
}

func catalogUnavailable(s Snapshot) (Decision, bool) {
	if s.Workflow.Resolved != nil {
		return Decision{}, false
	}
	if !s.Now.Before(s.giveUp()) {
		return s.fail(v1alpha1.FailureCatalogUnavailable, fmt.Sprintf("the catalog did not answer for %s: %s", s.maxWait(), s.Workflow.Unavailable)), true
	}
	return s.catalogWait(s.giveUp()), true
}

func (s Snapshot) catalogWait(until time.Time) Decision {
	d := s.wait(string(v1alpha1.FailureCatalogUnavailable), "datastorage", s.Workflow.Unavailable, until)
	d.Recheck = min(d.Recheck, retryRecheck)
	return d
}

func targetHeld(s Snapshot) (Decision, bool) {
	h := s.Target.Status.Holder
	if h == nil {
		return Decision{}, false
	}
	name := h.Namespace + "/" + h.Name
	return s.notNow(obstacle{
		reason: v1alpha1.SkipResourceBusy, who: name, canWait: true,
		message: fmt.Sprintf("%s holds %s with workflow %s", name, s.Target.Key, h.WorkflowID),
		conflict: &v1alpha1.ConflictingWorkflow{
			Name: name, WorkflowID: h.WorkflowID, StartedAt: metav1.NewTime(h.Since.Time), TargetResource: s.Target.Key,
		},
	}), true
}

func blocked(s Snapshot) (Decision, bool) {
	b := s.ownHistory().Block
	if b == nil {
		return Decision{}, false
	}
	workflow := s.Execution.Spec.WorkflowRef.WorkflowID
	why := fmt.Sprintf("%s ran it here and ended with %s", b.Name, b.Failure)
	if b.Reason == v1alpha1.SkipExhaustedRetries {
		why = fmt.Sprintf("its last tries here failed before it could begin, %s with %s", b.Name, b.Failure)
	}
	return s.notNow(obstacle{
		reason: b.Reason, who: b.Name, blockID: string(b.ID),
		message: fmt.Sprintf("workflow %s is blocked on %s: %s; look at it, then run: kubernaut unblock %s --workflow %s --reason \"…\"",
			workflow, s.Target.Key, why, s.Target.Key, workflow),
		conflict: &v1alpha1.ConflictingWorkflow{
			Name: b.Name, WorkflowID: workflow, StartedAt: b.Since, TargetResource: s.Target.Key,
		},
	}), true
}

func backoff(s Snapshot) (Decision, bool) {
	h := s.ownHistory()
	if h.NextAllowedTime == nil || !s.Now.Before(h.NextAllowedTime.Time) {
		return Decision{}, false
	}
	return s.notNow(obstacle{
		reason: v1alpha1.SkipBackoff, who: s.Target.Record, canWait: true, until: h.NextAllowedTime.Time,
		message: fmt.Sprintf("workflow %s failed %d times in a row on %s before it could begin; the next try is let through at %s",
			h.WorkflowID, h.PreExecutionFailures, s.Target.Key, clock(h.NextAllowedTime.Time)),
	}), true
}

func cooldown(s Snapshot) (Decision, bool) {
	h := s.ownHistory()
	if h.CooldownUntil == nil || !s.Now.Before(h.CooldownUntil.Time) || h.LastOutcome == nil {
		return Decision{}, false
	}
	left := h.CooldownUntil.Sub(s.Now).Round(time.Second)
	return s.notNow(obstacle{
		reason: v1alpha1.SkipRecentlyRemediated, who: h.LastOutcome.Name, canWait: true, until: h.CooldownUntil.Time,
		message: fmt.Sprintf("%s completed workflow %s on %s; it is left alone until %s",
			h.LastOutcome.Name, h.WorkflowID, s.Target.Key, clock(h.CooldownUntil.Time)),
		recent: &v1alpha1.RecentRemediation{
			Name: h.LastOutcome.Name, WorkflowID: h.WorkflowID, CompletedAt: h.LastOutcome.At, Outcome: string(h.LastOutcome.Phase),
			TargetResource: s.Target.Key, CooldownRemaining: metav1.Duration{Duration: left},
		},
	}), true
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// othersFirst: the target is free, and somebody has waited for it longer.
func othersFirst(s Snapshot) (Decision, bool) {
	for _, w := range s.Target.Ahead {
		if !s.free(w.WorkflowID) {
			continue
		}
		d := s.notNow(obstacle{
			reason: v1alpha1.SkipResourceBusy, who: w.Name, canWait: true,
			message:  fmt.Sprintf("%s waits longer for %s", w.Name, s.Target.Key),
			conflict: &v1alpha1.ConflictingWorkflow{Name: w.Name, WorkflowID: w.WorkflowID, StartedAt: metav1.NewTime(s.Now), TargetResource: s.Target.Key},
		})
		if d.Waiting != nil && w.Silent { // it wakes nobody when it does not
			d.Recheck = min(d.Recheck, retryRecheck)
		}
		return d, true
	}
	return Decision{}, false
}

// free says whether the past of a workflow on this target lets it run now.
func (s Snapshot) free(workflowID string) bool {
	h := s.history(workflowID)
	past := func(t *metav1.Time) bool { return t == nil || !s.Now.Before(t.Time) }
	return h.Block == nil && past(h.NextAllowedTime) && past(h.CooldownUntil)
}

func paused(s Snapshot) (Decision, bool) {
	if s.Policy.Paused == "" {
		return Decision{}, false
	}
	return s.heldBack(obstacle{reason: v1alpha1.SkipPaused, message: "nothing is started at the moment: " + s.Policy.Paused}), true
}

func limitReached(s Snapshot) (Decision, bool) {
	p := s.Policy
	message := ""
	switch {
	case p.MaxRunning > 0 && p.Running >= p.MaxRunning:
		message = fmt.Sprintf("%d executions may run at a time", p.MaxRunning)
	case p.MaxRunningPerNamespace > 0 && p.RunningInNamespace >= p.MaxRunningPerNamespace:
		message = fmt.Sprintf("%d executions of namespace %s may run at a time", p.MaxRunningPerNamespace, s.Execution.Namespace)
	default:
		return Decision{}, false
	}
	d := s.heldBack(obstacle{reason: v1alpha1.SkipLimitReached, message: message})
	if d.Waiting != nil {
		d.Recheck = min(d.Recheck, limitRecheck)
	}
	return d, true
}

// limitRecheck is how soon somebody looks again who may not run because too many do.
// Usually the end of another wakes them.
const limitRecheck = 10 * time.Second

// auditStrict: where the installation wants it, nothing happens to a target before
// the audit trail has acknowledged everything that led to it.
func auditStrict(s Snapshot) (Decision, bool) {
	if !s.Policy.AuditStrict || AuditSettled(s.Execution) {
		return Decision{}, false
	}
	if !s.Now.Before(s.giveUp()) {
		return s.fail(v1alpha1.FailureAuditUnavailable, fmt.Sprintf("the audit trail did not take its events for %s, and nothing is started without (audit.strict)", s.maxWait())), true
	}
	return s.auditWait(s.giveUp()), true
}

func (s Snapshot) auditWait(until time.Time) Decision {
	d := s.wait(string(v1alpha1.FailureAuditUnavailable), "datastorage", "nothing is started before the audit trail has what led to it (audit.strict)", until)
	d.Recheck = min(d.Recheck, retryRecheck)
	return d
}

func targetFree(Snapshot) (Decision, bool) { return Decision{Do: Take}, true }

func (s Snapshot) ownHistory() v1alpha1.WorkflowHistory {
	return s.history(s.Execution.Spec.WorkflowRef.WorkflowID)
}

// obstacle is what keeps an execution off a target that it may run on otherwise.
type obstacle struct {
	reason   v1alpha1.SkipReason
	who      string
	message  string
	canWait  bool
	until    time.Time // when it is known to end; zero: nobody knows
	blockID  string
	conflict *v1alpha1.ConflictingWorkflow
	recent   *v1alpha1.RecentRemediation
}

// notNow skips an execution, or lets it wait when it wants to and waiting helps.
func (s Snapshot) notNow(o obstacle) Decision {
	waits := o.canWait && s.Execution.Spec.OnBusy == v1alpha1.OnBusyWait
	if waits && s.Now.Before(s.giveUp()) {
		d := s.wait(string(o.reason), o.who, o.message, s.giveUp())
		d.Waiting.Position = int32(len(s.Target.Ahead)) + 1
		if !o.until.IsZero() && o.until.Before(s.giveUp()) {
			d.Recheck = max(o.until.Sub(s.Now), time.Second)
		}
		return d
	}
	if waits {
		return s.tired(o)
	}
	return s.skip(o)
}

// heldBack lets an execution wait for what has nothing to do with its target, whether
// it wants to wait for that or not.
func (s Snapshot) heldBack(o obstacle) Decision {
	if s.Now.Before(s.giveUp()) {
		return s.wait(string(o.reason), o.who, o.message, s.giveUp())
	}
	return s.tired(o)
}

// tired skips an execution that has waited as long as it wanted to.
func (s Snapshot) tired(o obstacle) Decision {
	o.message = fmt.Sprintf("waited %s: %s", s.maxWait(), o.message)
	return s.skip(o)
}

func (s Snapshot) skip(o obstacle) Decision {
	skip := &v1alpha1.SkipDetails{
		Reason: o.reason, Message: o.message, SkippedAt: metav1.NewTime(s.Now),
		ConflictingWorkflow: o.conflict, RecentRemediation: o.recent, BlockID: uid(o.blockID),
	}
	if !o.until.IsZero() {
		t := metav1.NewTime(o.until)
		skip.NextAllowedTime = &t
	}
	return Decision{Ending: &Ending{
		Phase: v1alpha1.PhaseSkipped, At: s.Now, Reason: string(o.reason), Message: o.message, Skip: skip,
	}}
}
