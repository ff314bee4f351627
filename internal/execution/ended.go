package execution

import (
	"strings"
	"time"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// ended lists what remains to be done when the outcome stands in status. The
// order, once its engine can be asked, is the order of endings: the run has stopped, its name is taken, the
// target is released, the run may go, the audit trail is complete, the
// execution may go.
var ended = []rule{
	{"run-unknown", engineAbsent},
	{"run-still-active", runStillActive},
	{"run-stopping", runStopping},
	{"run-never-seen", runNeverSeen},
	{"release", release},
	{"run-deleted", runDeleted},
	{"audit-overdue", auditOverdue},
	{"audit-incomplete", auditIncomplete},
	{"no-longer-waiting", noLongerWaiting},
	{"done", done},
}

const (
	// stopRecheck is how often a run that should stop is looked at without a wake-up.
	stopRecheck = 10 * time.Second
	// lingering is how long parts of a run that has ended may take to end too. What its
	// engine has not ended by then, it will not.
	lingering = time.Minute
)

func runStillActive(s Snapshot) (Decision, bool) {
	r := s.Run
	if r.State != RunActive || !r.Ours || r.Occupant || r.Deleting || r.Stopping == v1alpha1.CancelImmediate {
		return Decision{}, false
	}
	return Decision{Do: Cancel, Stop: Stop{v1alpha1.CancelImmediate, stopReasonOf(s)}}, true
}

func stopReasonOf(s Snapshot) v1alpha1.FailureReason {
	if f := s.Execution.Status.FailureDetails; f != nil {
		return f.Reason
	}
	return v1alpha1.FailureCancelled
}

func runStopping(s Snapshot) (Decision, bool) {
	if !s.Holds() || s.Run.stopped() {
		return Decision{}, false
	}
	if s.orphaned() {
		return Decision{Do: Cancel, Stop: Stop{v1alpha1.CancelImmediate, stopReasonOf(s)}, Recheck: stopRecheck}, true
	}
	if c := s.Execution.Status.CompletionTime; c != nil && s.Now.Before(c.Add(stopRecheck)) {
		return Decision{Recheck: stopRecheck}, true // the usual second or two are not worth a write
	}
	d := s.wait(v1alpha1.ReasonStopping, strings.Join(s.Run.Alive, ", "), "The target is released when everything the run started has stopped", time.Time{})
	d.Recheck = stopRecheck
	return d, true
}

// orphaned says whether parts of a run go on that nobody has asked to stop,
// though the run itself has ended or is gone.
func (s Snapshot) orphaned() bool {
	over := s.Run.State != RunActive || s.Run.Deleting
	return s.Run.Fresh && over && (len(s.Run.Orphans) > 0 || len(s.Run.Unended) > 0 && s.lingers())
}

// lingers says whether a run ended so long ago that its parts should have, too.
func (s Snapshot) lingers() bool {
	at := s.Run.Finished
	if c := s.Execution.Status.CompletionTime; at.IsZero() && c != nil {
		at = c.Time
	}
	return s.Run.State == RunFinished && !at.IsZero() && s.Now.After(at.Add(lingering))
}

func runNeverSeen(s Snapshot) (Decision, bool) {
	if !s.Holds() || s.Run.State != RunAbsent || s.Execution.Status.PipelineRunRef != nil {
		return Decision{}, false
	}
	if r := s.Run.Refused; r != nil {
		d := s.wait(string(r.Reason), s.Run.Name, "The target is released when the run's name is taken, so that nobody can start it late: "+r.Message, time.Time{})
		d.Recheck = stopRecheck
		return d, true
	}
	return Decision{Do: Occupy}, true
}

func release(s Snapshot) (Decision, bool) {
	return Decision{Do: Release}, s.Holds()
}

func runDeleted(s Snapshot) (Decision, bool) {
	return Decision{Do: LetRunGo}, s.Run.Ours && s.Run.Deleting && s.Run.Kept
}

// handOverAfter is how long an execution that is deleted waits for the audit trail:
// its namespace may be waiting for it.
const handOverAfter = time.Hour

// auditOverdue: the events are kept elsewhere and sent later, and the execution goes.
func auditOverdue(s Snapshot) (Decision, bool) {
	ex := s.Execution
	owes := s.deleting() && hasFinalizer(ex) && !AuditSettled(ex)
	return Decision{Do: HandOver}, owes && s.Now.After(ex.DeletionTimestamp.Add(handOverAfter))
}

func auditIncomplete(s Snapshot) (Decision, bool) {
	return Decision{}, hasFinalizer(s.Execution) && !AuditSettled(s.Execution)
}

// noLongerWaiting: what the status says of a wait is taken back before nobody
// looks at the execution any more.
func noLongerWaiting(s Snapshot) (Decision, bool) {
	return Decision{}, hasFinalizer(s.Execution) && s.Execution.Status.Waiting != nil
}

// done: the write that takes the finalizer off also marks the execution as settled,
// and from then on nobody watches it.
func done(s Snapshot) (Decision, bool) {
	return Decision{Do: RemoveFinalizer}, hasFinalizer(s.Execution) || s.Execution.Labels[v1alpha1.LabelSettled] == ""
}
