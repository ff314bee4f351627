package execution

import (
	"encoding/json"
	"time"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/audit"
)

// Abandoned says what happens to a target whose holder has vanished, from the run
// that the holder started or would have started, read past every cache.
func Abandoned(run Run, now time.Time) Decision {
	s := Snapshot{Now: now, Run: run, Execution: &v1alpha1.WorkflowExecution{}}
	switch {
	case run.State == RunActive && !run.Occupant && run.Ours && !run.Deleting && run.Stopping != v1alpha1.CancelImmediate, s.orphaned():
		return Decision{Rule: "abandoned-run", Do: Cancel, Stop: Stop{v1alpha1.CancelImmediate, v1alpha1.FailureCancelled}}
	case !run.stopped():
		return Decision{Rule: "abandoned-stopping", Recheck: stopRecheck}
	case run.State == RunAbsent:
		return Decision{Rule: "abandoned-unknown", Do: Occupy}
	case run.Occupant || !run.Ours || run.State == RunActive: // nothing of it is left but its name
		return lost()
	case run.Succeeded:
		return Decision{Rule: "abandoned-completed", Do: Release, Ending: &Ending{Phase: v1alpha1.PhaseCompleted, At: run.Finished, Reason: v1alpha1.ReasonCompleted}}
	}
	d := s.end(Classify(run, nil), run.Finished)
	d.Rule, d.Do = "abandoned-failed", Release
	return d
}

// lost: nobody can know how it ended, so somebody has to look.
func lost() Decision {
	return Decision{Rule: "abandoned-lost", Do: Release, Ending: &Ending{
		Phase: v1alpha1.PhaseFailed, Reason: string(v1alpha1.FailureHolderLost),
		Failure: &v1alpha1.FailureDetails{Reason: v1alpha1.FailureHolderLost, WasExecutionFailure: true, FailedTaskIndex: -1},
	}}
}

// Clearing is the audit event of a block that somebody cleared.
func Clearing(record, key string, c v1alpha1.ClearedBlock) (audit.Event, error) {
	raw, err := json.Marshal(map[string]any{
		"target": key, "record": record, "workflow": map[string]any{"workflow_id": c.Workflow},
		"block_id": c.BlockID, "reason": c.Reason, "cleared_by": c.ClearedBy,
	})
	correlation := c.CorrelationID
	if correlation == "" {
		correlation = string(c.BlockID)
	}
	return audit.Event{
		EventID: audit.EventID(string(c.BlockID), "block_cleared"), Version: eventVersion,
		EventType: "remediationtarget.block_cleared", EventCategory: "remediationtarget", EventAction: "block_cleared",
		EventOutcome: datastorage.EventOutcomeSuccess, EventTimestamp: c.At.UTC().Truncate(time.Microsecond),
		EventData: raw, CorrelationID: correlation, Namespace: v1alpha1.SystemNamespace,
		ResourceType: "RemediationTarget", ResourceID: record, ResourceName: record,
	}, err
}
