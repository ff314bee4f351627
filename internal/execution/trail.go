package execution

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/audit"
)

// The transitions of an execution. Each names one event for ever.
const (
	transitionCreated   = "created"
	transitionLocked    = "locked"
	transitionStarted   = "started"
	transitionCompleted = "completed"
)

const (
	eventCategory = "workflowexecution"
	eventVersion  = "1"
)

// Trail is the audit events that an execution's object stands for, in the order
// in which they happened. It is a function of the stored object alone: the same
// object always gives the same events, so sending them again is harmless. It ends
// before a start that cannot be told yet: what follows names what came before it.
func Trail(ex *v1alpha1.WorkflowExecution) ([]audit.Event, error) {
	return trailOf(ex, false)
}

// LastTrail is the trail of an execution that goes and waits no longer for the
// catalog: its start is told with what is known.
func LastTrail(ex *v1alpha1.WorkflowExecution) ([]audit.Event, error) {
	return trailOf(ex, true)
}

func trailOf(ex *v1alpha1.WorkflowExecution, last bool) ([]audit.Event, error) {
	t := &trail{ex: ex}
	st := &ex.Status
	t.add(transitionCreated, ex.CreationTimestamp.Time, t.creation())
	if st.Target != nil && st.Target.LockedAt != nil {
		t.add(transitionLocked, st.Target.LockedAt.Time, map[string]any{
			"target": st.Target.Key, "record": st.Target.Record, "fencing_token": fmt.Sprint(st.Target.FencingToken),
		})
	}
	if st.StartTime != nil && st.PipelineRunRef != nil {
		if Untold(ex) && !last {
			return t.events, t.err
		}
		t.add(transitionStarted, st.StartTime.Time, t.start())
	}
	if st.CompletionTime != nil && Ended(ex) {
		t.end()
	}
	return t.events, t.err
}

// Decided says whether an event tells a decision of the controller. Such an event
// may be sent only when the decision stands in the stored status; the others are
// facts that stand in other objects.
func Decided(e audit.Event) bool {
	switch e.EventAction {
	case transitionCreated, transitionLocked, transitionStarted, transitionCompleted:
		return false
	}
	return true
}

// Untold says whether a run exists of which the status does not say yet what it
// runs: the catalog has not answered since it was created. That it knows no such
// workflow is an answer.
func Untold(ex *v1alpha1.WorkflowExecution) bool {
	return ex.Status.PipelineRunRef != nil && ex.Status.Workflow == nil
}

type trail struct {
	ex     *v1alpha1.WorkflowExecution
	events []audit.Event
	err    error
}

// add appends an event. Times of other objects are cut to the second; an event
// never stands before its predecessor.
func (t *trail) add(action string, at time.Time, data map[string]any) *audit.Event {
	if n := len(t.events); n > 0 && !at.After(t.events[n-1].EventTimestamp) {
		at = t.events[n-1].EventTimestamp.Add(time.Microsecond)
	}
	raw, err := json.Marshal(data)
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("audit event %s of %s/%s: %w", action, t.ex.Namespace, t.ex.Name, err)
	}
	t.events = append(t.events, audit.Event{
		EventID:        audit.EventID(string(t.ex.UID), action),
		Version:        eventVersion,
		EventType:      eventCategory + "." + action,
		EventCategory:  eventCategory,
		EventAction:    action,
		EventOutcome:   datastorage.EventOutcomePending,
		EventTimestamp: at.UTC().Truncate(time.Microsecond),
		EventData:      raw,
		CorrelationID:  t.ex.CorrelationID(),
		Namespace:      t.ex.Namespace,
		ResourceType:   "WorkflowExecution",
		ResourceID:     string(t.ex.UID),
		ResourceName:   t.ex.Name,
	})
	return &t.events[len(t.events)-1]
}

func (t *trail) workflow() map[string]any {
	ref := t.ex.Spec.WorkflowRef
	return map[string]any{"workflow_id": ref.WorkflowID, "version": ref.Version}
}

// creation tells what was asked for. Values of parameters are left out: whether
// one is secret may not be known yet.
func (t *trail) creation() map[string]any {
	spec := &t.ex.Spec
	data := map[string]any{
		"workflow": t.workflow(), "target_resource": spec.TargetResource,
		"parameters": append([]string{}, slices.Sorted(maps.Keys(spec.Parameters))...),
	}
	optional(data, "container_image", spec.WorkflowRef.ContainerImage)
	optional(data, "container_digest", spec.WorkflowRef.ContainerDigest)
	optional(data, "created_by", spec.CreatedBy)
	optional(data, "rationale", spec.Rationale)
	optional(data, "on_busy", string(spec.OnBusy))
	if spec.Confidence != nil {
		data["confidence"] = *spec.Confidence
	}
	return data
}

func optional(data map[string]any, key, value string) {
	if value != "" {
		data[key] = value
	}
}

// start tells what was started; of a workflow that the catalog does not know, or was
// not asked about in time, the run alone.
func (t *trail) start() map[string]any {
	st := &t.ex.Status
	run, w := st.PipelineRunRef, st.Workflow
	data := map[string]any{
		"workflow": t.workflow(), "target": st.Target.Key, "engine": run.Engine,
		"run": map[string]any{"name": run.Name, "namespace": run.Namespace, "uid": run.UID},
	}
	if w == nil || w.Image == "" {
		return data
	}
	data["engine"], data["image"], data["service_account"], data["registered"] = w.Engine, w.Image, w.ServiceAccountName, w.Registered
	data["parameters"] = t.parameters()
	return data
}

// parameters are the values that the workflow declares and does not call secret.
func (t *trail) parameters() map[string]string {
	shown := map[string]string{}
	for _, p := range t.ex.Status.Workflow.Parameters {
		value, given := t.ex.Spec.Parameters[p.Name]
		switch {
		case !given:
		case p.Secret:
			shown[p.Name] = "(secret)"
		default:
			shown[p.Name] = value
		}
	}
	return shown
}

// end tells how the execution ended.
func (t *trail) end() {
	st := &t.ex.Status
	data := map[string]any{"workflow": t.workflow(), "target": t.ex.Spec.TargetResource}
	if st.Target != nil {
		data["target"] = st.Target.Key
	}
	if st.Workflow != nil {
		optional(data, "digest", st.Workflow.Digest)
	}
	action := map[v1alpha1.Phase]string{
		v1alpha1.PhaseCompleted: transitionCompleted, v1alpha1.PhaseFailed: "failed",
		v1alpha1.PhaseSkipped: "skipped", v1alpha1.PhaseCancelled: "cancelled",
	}[st.Phase]
	if f := st.FailureDetails; f != nil {
		data["failure"] = failureData(f)
	}
	if s := st.SkipDetails; s != nil {
		data["skip"] = skipData(s)
	}
	if c := st.Cancel; c != nil { // that of the spec may be made or changed after the end
		data["cancel"] = map[string]any{"mode": c.Mode, "reason": c.Reason, "requested_by": c.RequestedBy}
	}
	data["preceded_by"] = t.actions() // so that the loss of one of them shows
	e := t.add(action, st.CompletionTime.Time, data)
	e.EventOutcome = datastorage.EventOutcomeFailure
	if st.Phase == v1alpha1.PhaseCompleted {
		e.EventOutcome = datastorage.EventOutcomeSuccess
	}
	if st.Duration != nil {
		ms := max(st.Duration.Milliseconds(), 0)
		e.DurationMS = &ms
	}
	if f := st.FailureDetails; f != nil {
		e.ErrorCode, e.ErrorMessage = string(f.Reason), f.NaturalLanguageSummary
	}
}

// actions are those of the events so far.
func (t *trail) actions() []string {
	var all []string
	for i := range t.events {
		all = append(all, t.events[i].EventAction)
	}
	return all
}

func failureData(f *v1alpha1.FailureDetails) map[string]any {
	data := map[string]any{
		"reason": f.Reason, "message": f.Message, "user_code_started": f.WasExecutionFailure, "retry_safe": f.RetrySafe,
		"evidence": append([]string{}, f.Evidence...),
	}
	optional(data, "task", f.FailedTaskName)
	optional(data, "step", f.FailedStepName)
	if f.ExitCode != nil {
		data["exit_code"] = *f.ExitCode
	}
	return data
}

func skipData(s *v1alpha1.SkipDetails) map[string]any {
	data := map[string]any{"reason": s.Reason, "message": s.Message}
	if c := s.ConflictingWorkflow; c != nil {
		data["because_of"] = c.Name
	}
	if r := s.RecentRemediation; r != nil {
		data["because_of"] = r.Name
		data["cooldown_remaining"] = r.CooldownRemaining.Duration.String()
	}
	if s.NextAllowedTime != nil {
		data["next_allowed"] = s.NextAllowedTime.UTC().Format(time.RFC3339)
	}
	optional(data, "block_id", string(s.BlockID))
	return data
}

// AuditRecorded is the condition that says how far the audit trail is.
func AuditRecorded(ex *v1alpha1.WorkflowExecution, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{
		Type: v1alpha1.ConditionAuditRecorded, Status: status, Reason: reason, Message: cut(message, 4096), ObservedGeneration: ex.Generation,
	}
}
