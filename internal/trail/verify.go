package trail

import (
	"context"
	"fmt"
	"strings"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/completeness"
	"kubernaut.ai/kubernaut/internal/connect"
)

// Verify reads the trail of one execution, given by its UID, as any client can, and
// judges it: whether what must be there is there, and whether each event is what was
// recorded. known are transitions that the trail must have beside.
func Verify(ctx context.Context, storage *datastorage.Client, uid string, known ...datastorage.Transition) (datastorage.Completeness, error) {
	var events []datastorage.StoredEvent
	var altered []string
	q := datastorage.QueryAuditEventsParams{ResourceID: uid, Limit: 1000, Order: datastorage.QueryAuditEventsParamsOrderAsc}
	for e, err := range storage.AllEvents(ctx, q) {
		if err != nil {
			return datastorage.Completeness{}, fmt.Errorf("reading the trail of execution %s: %w", uid, connect.ExplainDataStorage(err))
		}
		events = append(events, e)
		if wrong := completeness.Altered(e); wrong != "" {
			altered = append(altered, wrong)
		}
	}
	verdict := completeness.Of(uid, events, known...)
	if len(altered) > 0 {
		verdict.Problems = append(verdict.Problems, altered...)
		verdict.State = datastorage.CompletenessStateBroken
	}
	return verdict, nil
}

// Known are the transitions that the status of an execution tells of. Those whose
// events are still to be sent are not among them.
func Known(ex *v1alpha1.WorkflowExecution) (known []datastorage.Transition) {
	const because = "the status of the object tells of it"
	settled := false
	for _, c := range ex.Status.Conditions {
		settled = settled || c.Type == v1alpha1.ConditionAuditRecorded && c.Status == "True"
	}
	if !settled {
		return nil
	}
	add := func(action string, is bool) {
		if is {
			known = append(known, datastorage.Transition{Action: action, Because: because})
		}
	}
	st := &ex.Status
	add(completeness.Created, true)
	add(completeness.Locked, st.Target != nil && st.Target.LockedAt != nil)
	add(completeness.Started, st.PipelineRunRef != nil && st.StartTime != nil)
	ending := strings.ToLower(string(st.Phase))
	add(ending, completeness.IsEnding(ending))
	return known
}
