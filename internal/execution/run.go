package execution

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// RunState is where a run stands.
type RunState string

// The states of a run. Absent is only ever said of a run that was looked for
// past every cache.
const (
	RunAbsent   RunState = "absent"
	RunActive   RunState = "active"
	RunFinished RunState = "finished"
)

// Run is one run as its engine reports it, in words that are the same for all
// engines.
type Run struct {
	State     RunState
	Name      string
	Namespace string
	UID       types.UID
	Engine    string // the name of its engine; set by who asked it

	// Unasked is why nothing is known of it: its engine is not there.
	Unasked string

	// Ours: it carries the UID of the execution.
	Ours bool
	// Occupant: it was created stopped, only so that nobody else can create a run
	// of this name.
	Occupant bool
	// Deleting: somebody deletes it. Kept: our finalizer is on it.
	Deleting, Kept bool
	// Stopping is how it was asked to stop, StopReason why we asked; both empty
	// when nobody asked.
	Stopping   v1alpha1.CancelMode
	StopReason v1alpha1.FailureReason

	Created, Started, Finished time.Time
	Succeeded                  bool
	// Cancelled and TimedOut: it ended because somebody stopped it, or because its
	// time was over.
	Cancelled, TimedOut        bool
	Reason, Message            string
	CompletedTasks, TotalTasks int32
	// Digest of the bundle that was resolved, as sha256:….
	Digest string
	Tasks  []Task

	// CodeStarted: a container of the workflow was created, or that cannot be
	// excluded.
	CodeStarted bool
	// LostChild names a part of the run whose code had started and that vanished
	// before the run ended, and LostReason why; the engine may run it again.
	LostChild  string
	LostReason v1alpha1.FailureReason
	// Hold is what the run itself waits for; nil when it works.
	Hold *Hold

	// Alive names the parts of the run that may still act. It is complete only
	// when the run was read past the cache, which Fresh says.
	Alive []string
	// Orphans are those of Alive that nobody has asked to stop, and nobody will.
	// Unended are those that what they belong to should have ended: it has itself.
	Orphans, Unended []string
	Fresh            bool

	// Refused is the API server's answer when the run was to be created.
	Refused *Refusal
}

// Task is one task of a run.
type Task struct {
	Name      string // in the pipeline
	Index     int32  // in the pipeline, from 0
	Failed    bool
	Reason    string
	Message   string
	Steps     []Step
	PodEvents []string // what the cluster said of its pod, the newest last
}

// Step is one step of a task.
type Step struct {
	Name       string
	Created    bool // its container was
	Terminated bool
	ExitCode   int32
	Reason     string
}

// Hold is what a run waits for while it is active.
type Hold struct {
	Reason  v1alpha1.FailureReason
	Message string
	// Hopeless: no waiting cures it, and the engine does not give up by itself.
	Hopeless bool
}

// Refusal is an answer of the API server or the engine to the wish to create a
// run.
type Refusal struct {
	Reason  v1alpha1.FailureReason
	Message string
	// Passing: the same wish may be granted later.
	Passing bool
}

// stopped says whether nothing of the run can act any more. Only a run that was
// read past the cache can be known to have stopped. An engine begins nothing more
// for a run that is being deleted; where a stranger has the name, there is none.
func (r Run) stopped() bool {
	if r.Fresh && r.State != RunAbsent && !r.Ours {
		return true
	}
	return r.Fresh && len(r.Alive) == 0 && (r.State != RunActive || r.Occupant || r.Deleting)
}
