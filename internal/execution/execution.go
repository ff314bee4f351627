// Package execution decides what happens next to one WorkflowExecution.
//
//	Snapshot ──► Decide ──► Decision ──► Project ──► status ──► Trail
//
// It reads no clock, no cluster and no network; package controller does. A
// decision either changes one thing outside the execution's status or says what
// the status is to be, never both, so that after a crash between any two writes
// the same world is looked at again and the same decision is made.
package execution

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Snapshot is everything Decide may know.
type Snapshot struct {
	Now       time.Time
	Policy    Policy
	Execution *v1alpha1.WorkflowExecution
	Workflow  Workflow
	Target    Target
	Run       Run
	// Evidence is the last lines of the failed step and the events of its pod.
	Evidence []string
	// Secrets are the values that must appear nowhere.
	Secrets []string
}

// Policy is what the installation allows, and its defaults.
type Policy struct {
	Timeout           time.Duration // of a run that names none
	MaxWait           time.Duration // of an execution that names none
	StopGrace         time.Duration // how long the engine may take to enforce a timeout before we do
	AllowUnregistered bool          // images that the catalog does not know may run
	Paused            string        // why nothing is started at the moment; empty: things are
	AuditStrict       bool          // nothing is started before the audit trail has what led to it

	MaxRunning             int // executions that hold a target at a time; 0: no limit
	MaxRunningPerNamespace int // the same, of one namespace
	Running                int // those that do now
	RunningInNamespace     int // those of the execution's namespace
}

// Workflow is what the workflow reference means, as far as it is known.
type Workflow struct {
	// Resolved is nil while the catalog has not answered.
	Resolved *v1alpha1.ResolvedWorkflow
	// Problem is why the reference may not be started as it is.
	Problem *Problem
	// Unavailable is why the catalog has not answered.
	Unavailable string
	// References are the objects in the runs' namespace that the run needs.
	References []Reference
}

// Problem is a definite reason not to run.
type Problem struct {
	Rule    string
	Reason  v1alpha1.FailureReason
	Message string
}

// Reference is an object in the namespace of the runs.
type Reference struct {
	Kind, Name   string
	Exists       bool
	ForWorkflows bool // it carries the label kubernaut.ai/for-workflows=true
}

// Target is the target of the execution and its record.
type Target struct {
	// Key is the canonical form; empty when Problem says why there is none.
	Key     string
	Record  string
	Problem *Problem
	// Object is the record as it was read; nil when there is none yet.
	Object *v1alpha1.RemediationTarget
	// Status is that of the record; zero when there is none yet.
	Status v1alpha1.RemediationTargetStatus
	// Fresh: the record was read past every cache.
	Fresh bool
	// Ahead are the executions that have waited longer for this target, the
	// longest first.
	Ahead []Waiter
}

// Waiter is an execution that waits for a target.
type Waiter struct {
	Name       string // namespace/name
	WorkflowID string
	Silent     bool // nobody has looked at it yet, and it may turn out not to wait
}

// Action is the one thing outside its status that a decision changes.
type Action string

// The actions.
const (
	Nothing         Action = ""
	AddFinalizer    Action = "add finalizer"
	Take            Action = "take"
	Start           Action = "start run"
	Cancel          Action = "cancel run"
	Occupy          Action = "occupy run name"
	Release         Action = "release"
	LetRunGo        Action = "let run go"
	HandOver        Action = "hand events over, remove finalizer"
	RemoveFinalizer Action = "remove finalizer"
)

// Decision is what happens next.
type Decision struct {
	// Rule is the name of the rule that decided.
	Rule string
	Do   Action
	// Stop says how and why, when the action is Cancel.
	Stop Stop
	// Ending is how the execution ended, when it has.
	Ending *Ending
	// Waiting is for whom, why and until when, when it waits.
	Waiting *v1alpha1.Waiting
	// Recheck is when to look again without being woken; zero: when woken.
	Recheck time.Duration
}

// Concludes says whether an execution ends, or is announced to: that is decided
// only on a record that was read past every cache.
func (d Decision) Concludes() bool {
	return d.Ending != nil || d.Waiting != nil && d.Waiting.Reason == v1alpha1.ReasonEnding
}

// Stop says how a run is stopped and why.
type Stop struct {
	Mode   v1alpha1.CancelMode
	Reason v1alpha1.FailureReason
}

// Ending is how an execution ended.
type Ending struct {
	Phase   v1alpha1.Phase
	At      time.Time
	Reason  string
	Message string
	Failure *v1alpha1.FailureDetails
	Skip    *v1alpha1.SkipDetails
}

// rule is one named reason for a decision.
type rule struct {
	name   string
	decide func(Snapshot) (Decision, bool)
}

// Decide says what happens next. The stages are: ended, holds the target, does
// not hold it. In a stage the first rule that applies decides.
func Decide(s Snapshot) Decision {
	stage, rules := stageOf(s)
	if stage == holdingStage {
		s = s.neverStarted()
	}
	for _, r := range rules {
		if d, ok := r.decide(s); ok {
			if d.Rule == "" {
				d.Rule = r.name
			}
			switch stage {
			case holdingStage:
				return s.giveUpName(d)
			case waitingStage:
				return s.announce(d)
			}
			return d
		}
	}
	return Decision{Rule: stage + "-rest"}
}

const holdingStage, waitingStage = "holding", "waiting"

func stageOf(s Snapshot) (string, []rule) {
	switch {
	case s.ended():
		return "ended", ended
	case s.Holds():
		return holdingStage, holding
	}
	return waitingStage, waiting
}

func (s Snapshot) ended() bool { return Ended(s.Execution) }

// Holds says whether the record names this execution as the holder.
func (s Snapshot) Holds() bool {
	h := s.Target.Status.Holder
	return h != nil && h.UID == s.Execution.UID
}

func (s Snapshot) deleting() bool { return s.Execution.DeletionTimestamp != nil }

// Ended says whether the outcome of an execution stands in its status.
func Ended(ex *v1alpha1.WorkflowExecution) bool {
	c := condition(ex, v1alpha1.ConditionSucceeded)
	return c != nil && c.Status != metav1.ConditionUnknown
}

func condition(ex *v1alpha1.WorkflowExecution, kind string) *metav1.Condition {
	for i := range ex.Status.Conditions {
		if ex.Status.Conditions[i].Type == kind {
			return &ex.Status.Conditions[i]
		}
	}
	return nil
}

func hasFinalizer(ex *v1alpha1.WorkflowExecution) bool {
	for _, f := range ex.Finalizers {
		if f == v1alpha1.ExecutionFinalizer {
			return true
		}
	}
	return false
}

// AuditSettled says whether nothing of the stored status remains to be sent: all
// of it is acknowledged, or the trail holds other content and an alert says so.
func AuditSettled(ex *v1alpha1.WorkflowExecution) bool {
	c := condition(ex, v1alpha1.ConditionAuditRecorded)
	return c != nil && (c.Status == metav1.ConditionTrue || c.Reason == v1alpha1.ReasonConflictingIDs)
}

// history is what the record says about this execution's workflow.
func (s Snapshot) history(workflowID string) v1alpha1.WorkflowHistory {
	for _, h := range s.Target.Status.Workflows {
		if h.WorkflowID == workflowID {
			return h
		}
	}
	return v1alpha1.WorkflowHistory{WorkflowID: workflowID}
}

// timeout bounds the run, from its creation.
func (s Snapshot) timeout() time.Duration { return Timeout(s.Execution, s.Policy) }

// Timeout is how long a run of this execution may take.
func Timeout(ex *v1alpha1.WorkflowExecution, p Policy) time.Duration {
	if c := ex.Spec.ExecutionConfig; c != nil && c.Timeout != nil {
		return c.Timeout.Duration
	}
	return p.Timeout
}

// maxWait bounds each wait before the run exists.
func (s Snapshot) maxWait() time.Duration {
	if w := s.Execution.Spec.MaxWait; w != nil {
		return w.Duration
	}
	return s.Policy.MaxWait
}

// giveUp is when an execution stops waiting to begin.
func (s Snapshot) giveUp() time.Time {
	return s.Execution.CreationTimestamp.Add(s.maxWait())
}

// wait is a decision to do nothing, and to say for whom, why and until when.
func (s Snapshot) wait(reason, who, message string, until time.Time) Decision {
	w := &v1alpha1.Waiting{Reason: reason, For: who, Message: message}
	var recheck time.Duration
	if !until.IsZero() {
		t := metav1.NewTime(until)
		w.Until = &t
		recheck = max(until.Sub(s.Now), time.Second)
	}
	return Decision{Waiting: w, Recheck: recheck}
}

// fail ends an execution that something was wrong with.
func (s Snapshot) fail(reason v1alpha1.FailureReason, message string) Decision {
	return s.end(Failure{Reason: reason, Message: message, TaskIndex: -1}, s.Now)
}

// end ends an execution that did not succeed, at a time.
func (s Snapshot) end(f Failure, at time.Time) Decision {
	phase := v1alpha1.PhaseFailed
	if f.Reason == v1alpha1.FailureCancelled {
		phase = v1alpha1.PhaseCancelled
	}
	details := s.details(f, at)
	return Decision{Ending: &Ending{
		Phase: phase, At: at, Reason: string(f.Reason), Message: details.NaturalLanguageSummary, Failure: details,
	}}
}

// conditionOf a boolean as Kubernetes writes it.
func conditionOf(b bool) metav1.ConditionStatus {
	if b {
		return metav1.ConditionStatus(corev1.ConditionTrue)
	}
	return metav1.ConditionStatus(corev1.ConditionFalse)
}

// RuleNames lists the rules in the order in which they are asked, stage by stage:
// ended, holding, waiting.
func RuleNames() []string {
	var names []string
	for _, stage := range [][]rule{ended, holding, waiting} {
		for _, r := range stage {
			names = append(names, r.name)
		}
	}
	return names
}
