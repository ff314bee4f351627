package execution

import (
	"fmt"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// holding lists what can happen to an execution that holds its target.
var holding = []rule{
	{"engine-absent", engineAbsent},
	{"stranger", stranger},
	{"ending-withdrawn", endingWithdrawn},
	{"run-finished", runFinished},
	{"run-gone", runGone},
	{"part-lost", partLost},
	{"cancel-requested", cancelRequested},
	{"overdue", overdue},
	{"run-hopeless", runHopeless},
	{"start-refused", startRefused},
	{"start-overdue", startOverdue},
	{"workflow-unknown", workflowUnknown},
	{"lock-unrecorded", lockUnrecorded},
	{"not-started", notStarted},
	{"run-waits", runWaits},
	{"still-running", stillRunning},
}

// neverStarted is the snapshot of a holder whose run was given up before it began:
// what has the run's name is no run.
func (s Snapshot) neverStarted() Snapshot {
	if s.Run.Occupant {
		s.Run = Run{State: RunAbsent, Name: s.Run.Name, Namespace: s.Run.Namespace, Fresh: s.Run.Fresh, Occupant: true}
	}
	return s
}

// giveUpName takes the name of a run that was never seen before the execution ends
// without it: nobody can start it late and make a lie of what the ending says.
func (s Snapshot) giveUpName(d Decision) Decision {
	r := s.Run
	if d.Ending == nil || r.State != RunAbsent || r.Occupant || r.Refused != nil || s.Execution.Status.PipelineRunRef != nil {
		return d
	}
	return Decision{Rule: d.Rule, Do: Occupy}
}

// engineAbsent: nothing is known of the run, and nothing can be asked of it, until its
// engine is there again. The target stays held: the run may go on.
func engineAbsent(s Snapshot) (Decision, bool) {
	if s.Run.Unasked == "" || !s.Holds() {
		return Decision{}, false
	}
	d := s.wait(v1alpha1.ReasonEngineAbsent, s.Run.Engine, "The run cannot be asked for: "+s.Run.Unasked, time.Time{})
	d.Recheck = retryRecheck
	return d, true
}

func stranger(s Snapshot) (Decision, bool) {
	if s.Run.State == RunAbsent || s.Run.Ours {
		return Decision{}, false
	}
	return s.fail(v1alpha1.FailureConfigurationError, fmt.Sprintf(
		"a run named %s/%s exists and belongs to somebody else; it was left alone: delete it and create the execution again", s.Run.Namespace, s.Run.Name)), true
}

// endingWithdrawn: the target was taken all the same. Nothing is started before the
// announcement is gone, so that whoever still wants to end it meets a newer version.
func endingWithdrawn(s Snapshot) (Decision, bool) {
	return Decision{}, s.announced() && s.Run.State == RunAbsent
}

func runFinished(s Snapshot) (Decision, bool) {
	r := s.Run
	if r.State != RunFinished {
		return Decision{}, false
	}
	if r.Succeeded {
		return Decision{Ending: &Ending{
			Phase: v1alpha1.PhaseCompleted, At: r.Finished, Reason: v1alpha1.ReasonCompleted, Message: r.Message,
		}}, true
	}
	if !r.CodeStarted && !s.Execution.Status.UserCodeStarted && len(r.Alive) > 0 {
		return s.notYetProved(), true
	}
	f := Classify(r, s.Execution.Status.Waiting)
	if f.Reason == v1alpha1.FailureCancelled && r.StopReason == v1alpha1.FailureCancelled {
		f.Message = s.whoCancelled()
	}
	return s.end(f, r.Finished), true
}

// notYetProved: a run has ended before its pods, one of which may just have created
// a container. That no code had started is known when they have stopped. What the
// run had waited for goes on to be told, for it may be what failed.
func (s Snapshot) notYetProved() Decision {
	if s.orphaned() {
		return Decision{Do: Cancel, Stop: Stop{v1alpha1.CancelImmediate, v1alpha1.FailureExternallyDeleted}, Recheck: stopRecheck}
	}
	if told := s.Execution.Status.Waiting; told != nil && told.Reason != v1alpha1.ReasonEngineAbsent {
		return Decision{Waiting: told.DeepCopy(), Recheck: stopRecheck}
	}
	return s.stopping("The run has ended; whether its code had started is known when its pods have stopped")
}

// runGone: a run we know to have been created is absent, or somebody deletes it.
// What it had started is stopped first.
func runGone(s Snapshot) (Decision, bool) {
	r := s.Run
	known := s.Execution.Status.PipelineRunRef != nil || len(r.Alive) > 0
	gone := r.State == RunAbsent && known || r.State == RunActive && r.Deleting
	if !gone {
		return Decision{}, false
	}
	if len(r.Alive) > 0 || !r.Fresh {
		if s.orphaned() {
			return Decision{Do: Cancel, Stop: Stop{v1alpha1.CancelImmediate, v1alpha1.FailureExternallyDeleted}}, true
		}
		return s.stopping("The run was deleted from outside; waiting until what it started has stopped"), true
	}
	return s.end(Failure{
		Reason: v1alpha1.FailureExternallyDeleted, TaskIndex: -1,
		Message: fmt.Sprintf("run %s/%s was deleted before it had finished", r.Namespace, r.Name),
	}, s.Now), true
}

func (s Snapshot) stopping(message string) Decision {
	d := s.wait(v1alpha1.ReasonStopping, strings.Join(s.Run.Alive, ", "), message, time.Time{})
	d.Recheck = stopRecheck
	return d
}

// partLost: the engine would run a lost part again, and with it code that may
// have done its work.
func partLost(s Snapshot) (Decision, bool) {
	r := s.Run
	forgotten := s.Execution.Status.UserCodeStarted && !r.CodeStarted && r.Fresh
	switch {
	case r.State != RunActive || r.Stopping != "" && r.LostChild == "":
		return Decision{}, false
	case r.LostChild != "":
		return s.stop(v1alpha1.CancelImmediate, r.LostReason), true
	case forgotten:
		return s.stop(v1alpha1.CancelImmediate, v1alpha1.FailureExternallyDeleted), true
	}
	return Decision{}, false
}

func cancelRequested(s Snapshot) (Decision, bool) {
	request := s.Execution.Spec.Cancel
	if request == nil && !s.deleting() {
		return Decision{}, false
	}
	if s.Run.State == RunAbsent {
		return s.cancelled(s.Now), true
	}
	mode := v1alpha1.CancelGraceful
	if request != nil {
		mode = request.Mode
	}
	if s.pastDeadline() {
		mode = v1alpha1.CancelImmediate
	}
	return s.stop(mode, v1alpha1.FailureCancelled), true
}

// stop asks the run to stop, once per mode, and then waits until it has.
func (s Snapshot) stop(mode v1alpha1.CancelMode, reason v1alpha1.FailureReason) Decision {
	asked := s.Run.Stopping
	if asked == "" || asked == v1alpha1.CancelGraceful && mode == v1alpha1.CancelImmediate {
		if s.Run.StopReason != "" {
			reason = s.Run.StopReason
		}
		return Decision{Do: Cancel, Stop: Stop{mode, reason}}
	}
	return s.stopping("The run was asked to stop (" + string(reason) + ")")
}

func (s Snapshot) cancelled(at time.Time) Decision {
	return s.end(Failure{Reason: v1alpha1.FailureCancelled, Message: s.whoCancelled(), TaskIndex: -1}, at)
}

func (s Snapshot) whoCancelled() string {
	c := s.Execution.Spec.Cancel
	switch {
	case c == nil:
		return "the execution was deleted"
	case c.RequestedBy == "":
		return "cancelled: " + c.Reason
	}
	return fmt.Sprintf("cancelled by %s: %s", c.RequestedBy, c.Reason)
}

// pastDeadline: the engine had the timeout and a while more to enforce it.
func (s Snapshot) pastDeadline() bool {
	return s.Run.State == RunActive && s.Now.After(s.deadline())
}

func (s Snapshot) deadline() time.Time {
	return s.Run.Created.Add(s.timeout() + s.Policy.StopGrace)
}

func overdue(s Snapshot) (Decision, bool) {
	if !s.pastDeadline() {
		return Decision{}, false
	}
	return s.stop(v1alpha1.CancelImmediate, v1alpha1.FailureDeadlineExceeded), true
}

// runHopeless: the run waits for what will not come, as its status has told, and
// its engine would let it wait until its time is over. It goes on to be told while
// the run stops, and is what failed.
func runHopeless(s Snapshot) (Decision, bool) {
	told := s.Execution.Status.Waiting
	if s.Run.State != RunActive || told == nil {
		return Decision{}, false
	}
	h := s.Run.Hold
	stops := s.Run.StopReason != "" && told.Reason == string(s.Run.StopReason)
	switch {
	case s.Run.Stopping == "" && (stops || h != nil && h.Hopeless && told.Reason == string(h.Reason)):
		return s.stop(v1alpha1.CancelImmediate, v1alpha1.FailureReason(told.Reason)), true
	case stops:
		return Decision{Waiting: told.DeepCopy(), Recheck: stopRecheck}, true
	}
	return Decision{}, false
}

func startRefused(s Snapshot) (Decision, bool) {
	if r := s.Run.Refused; r != nil && !r.Passing {
		return s.fail(r.Reason, r.Message), true
	}
	return Decision{}, false
}

// startOverdue: nothing could be started for as long as anybody wanted to wait.
func startOverdue(s Snapshot) (Decision, bool) {
	limit := s.Target.Status.Holder.Since.Add(s.maxWait())
	if s.Run.State != RunAbsent || s.Now.Before(limit) {
		return Decision{}, false
	}
	if r := s.Run.Refused; r != nil {
		return s.fail(r.Reason, fmt.Sprintf("the run could not be created for %s: %s", s.maxWait(), r.Message)), true
	}
	if s.Workflow.Resolved == nil {
		return s.fail(v1alpha1.FailureCatalogUnavailable, s.Workflow.Unavailable), true
	}
	if s.lockOwed() {
		return s.fail(v1alpha1.FailureAuditUnavailable, fmt.Sprintf("the audit trail did not take the locking of its target for %s, and nothing is started without (audit.strict)", s.maxWait())), true
	}
	return Decision{}, false
}

// lockOwed says whether the installation wants the lock in the audit trail first,
// and it is not there.
func (s Snapshot) lockOwed() bool {
	t := s.Execution.Status.Target
	return s.Policy.AuditStrict && (t == nil || t.LockedAt == nil || !AuditSettled(s.Execution))
}

func lockUnrecorded(s Snapshot) (Decision, bool) {
	if s.Run.State != RunAbsent || !s.lockOwed() {
		return Decision{}, false
	}
	return s.auditWait(s.Target.Status.Holder.Since.Add(s.maxWait())), true
}

func workflowUnknown(s Snapshot) (Decision, bool) {
	if s.Run.State != RunAbsent || s.Workflow.Resolved != nil && s.Workflow.Problem == nil {
		return Decision{}, false
	}
	if p := s.Workflow.Problem; p != nil {
		return s.fail(p.Reason, p.Message), true
	}
	return s.catalogWait(s.Target.Status.Holder.Since.Add(s.maxWait())), true
}

func notStarted(s Snapshot) (Decision, bool) {
	if s.Run.State != RunAbsent {
		return Decision{}, false
	}
	if s.Run.Occupant {
		return s.fail(v1alpha1.FailureUnknown, "its run was given up before it began"), true
	}
	if r := s.Run.Refused; r != nil {
		d := s.wait(string(r.Reason), s.Run.Name, r.Message, s.Target.Status.Holder.Since.Add(s.maxWait()))
		d.Recheck = min(d.Recheck, retryRecheck)
		return d, true
	}
	return Decision{Do: Start}, true
}

// retryRecheck is how soon what was refused in passing is tried again.
const retryRecheck = 5 * time.Second

func runWaits(s Snapshot) (Decision, bool) {
	h := s.Run.Hold
	if h == nil {
		return Decision{}, false
	}
	d := s.wait(string(h.Reason), s.Run.Name, h.Message, s.Run.Created.Add(s.timeout()))
	d.Recheck = s.untilDeadline()
	return d, true
}

func stillRunning(s Snapshot) (Decision, bool) {
	return Decision{Recheck: s.untilDeadline()}, true
}

func (s Snapshot) untilDeadline() time.Duration {
	return max(s.deadline().Sub(s.Now)+time.Second, time.Second)
}
