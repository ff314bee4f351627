package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/execution"
)

// How the audit trail is followed up.
const (
	auditPatience = 2 * time.Second  // how long a status may wait for an acknowledgement
	auditRecheck  = 10 * time.Second // how soon what is not acknowledged is sent again
	refusedAgain  = time.Minute      // how soon what was refused is: the clocks, or another release, may let it pass
)

// record sends the events that may be sent and writes status, once.
func (r *Reconciler) record(ctx context.Context, s execution.Snapshot, d *execution.Decision) error {
	if settled(s.Execution) {
		return nil
	}
	next := s.Execution.DeepCopy()
	next.Status = execution.Project(s, *d)
	r.recordAudit(ctx, s.Execution, next)
	c := meta.FindStatusCondition(next.Status.Conditions, v1alpha1.ConditionAuditRecorded)
	switch c.Reason {
	case v1alpha1.ReasonUnavailable:
		d.Recheck = sooner(d.Recheck, auditRecheck)
	case v1alpha1.ReasonRefused:
		d.Recheck = sooner(d.Recheck, refusedAgain)
	}
	if err := r.writeStatus(ctx, s.Execution, next); err != nil {
		return err
	}
	if next.Status.Phase != s.Execution.Status.Phase && d.Ending == nil {
		decided(ctx, s, *d).Info("Execution moves on", "phase", next.Status.Phase)
	}
	return nil
}

func sooner(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// writeStatus writes what has changed, and tells of it when it is written.
func (r *Reconciler) writeStatus(ctx context.Context, before, next *v1alpha1.WorkflowExecution) error {
	if equality.Semantic.DeepEqual(before.Status, next.Status) {
		return nil
	}
	guard := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, next, guard); err != nil {
		return fmt.Errorf("writing status: %w", err)
	}
	r.behind.wrote(next)
	r.Notify.Changed(before, next)
	return nil
}

// recordAudit sends the events that next stands for and sets its condition
// AuditRecorded. What was acknowledged is not sent again; what was decided is
// sent only when it stands in the stored status, which before is.
func (r *Reconciler) recordAudit(ctx context.Context, before, next *v1alpha1.WorkflowExecution) {
	set := func(status metav1.ConditionStatus, reason, message string) {
		c := execution.AuditRecorded(next, status, reason, message)
		c.LastTransitionTime = metav1.NewTime(r.Now())
		meta.SetStatusCondition(&next.Status.Conditions, c)
	}
	events, err := execution.Trail(next)
	if err != nil {
		set(metav1.ConditionFalse, v1alpha1.ReasonRefused, err.Error())
		return
	}
	if !execution.Ended(next) && next.Status.PipelineRunRef == nil && !r.Policy.AuditStrict {
		set(metav1.ConditionFalse, v1alpha1.ReasonPending, "Events are sent when the run exists or the execution has ended")
		return
	}
	stored, err := execution.Trail(before)
	if err != nil {
		set(metav1.ConditionFalse, v1alpha1.ReasonRefused, err.Error())
		return
	}
	owed, later := owedOf(events, stored, execution.AuditSettled(before))
	switch err := send(ctx, r.Audit, owed); {
	case errors.Is(err, datastorage.ErrConflict):
		set(metav1.ConditionFalse, v1alpha1.ReasonConflictingIDs, "The audit trail holds other content under the id of one of these events: "+err.Error())
	case errors.Is(err, datastorage.ErrInvalid):
		set(metav1.ConditionFalse, v1alpha1.ReasonRefused, err.Error())
	case err != nil:
		set(metav1.ConditionFalse, v1alpha1.ReasonUnavailable, firstLine(err))
	case execution.Untold(next):
		set(metav1.ConditionFalse, v1alpha1.ReasonUnavailable, "The start of the run is told when the catalog says what was started")
	case later:
		set(metav1.ConditionFalse, v1alpha1.ReasonPending, "The decision is sent when it is stored")
	default:
		set(metav1.ConditionTrue, v1alpha1.ReasonAcknowledged, fmt.Sprintf("%d events are safe in the audit trail", len(events)))
	}
}

// owedOf are the events to send now, and whether more are to be sent later.
func owedOf(events, stored []audit.Event, acknowledged bool) (owed []audit.Event, later bool) {
	standing := map[string]bool{}
	for _, e := range stored {
		standing[e.EventID.String()] = true
	}
	for _, e := range events {
		stands := standing[e.EventID.String()]
		switch {
		case acknowledged && stands:
		case execution.Decided(e) && !stands:
			later = true
		default:
			owed = append(owed, e)
		}
	}
	return owed, later
}

// send sends events at the same time and waits until each is safe.
func send(ctx context.Context, to Audit, events []audit.Event) error {
	if len(events) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, auditPatience)
	defer cancel()
	answers := make(chan error, len(events))
	for _, e := range events {
		go func() {
			_, err := to.Record(ctx, e)
			answers <- err
		}()
	}
	var conflict, refused, passing error
	for range events {
		switch err := <-answers; {
		case errors.Is(err, datastorage.ErrConflict):
			conflict = err
		case errors.Is(err, datastorage.ErrInvalid):
			refused = err
		case err != nil:
			passing = err
		}
	}
	switch {
	case passing != nil: // what may still be acknowledged is sent again before anything is given up
		return passing
	case conflict != nil: // sending again would not change it
		return conflict
	}
	return refused
}
