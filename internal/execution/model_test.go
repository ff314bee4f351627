package execution_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/engine/enginetest"
	"kubernaut.ai/kubernaut/internal/execution"
	"kubernaut.ai/kubernaut/internal/target"
)

var epoch = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

// model is a small world without time of its own: executions, records, runs, a
// catalog and an audit trail.
type model struct {
	now        time.Time
	executions []*v1alpha1.WorkflowExecution
	gone       map[string]types.UID // executions that were removed by force
	records    map[string]*v1alpha1.RemediationTarget
	engine     *enginetest.Fake
	policy     execution.Policy
	rules      target.Rules
	catalog    string // why it does not answer
	lacks      string // why the engine is not there
	loseAudit  bool   // the trail goes away when the next target is taken
	lose       string // why it will not answer when the next target is taken
	workflows  map[string]execution.Workflow
	references []execution.Reference
	audit      bool
}

func newModel() *model {
	m := &model{
		gone: map[string]types.UID{}, records: map[string]*v1alpha1.RemediationTarget{}, audit: true,
		policy:    execution.Policy{Timeout: 30 * time.Minute, MaxWait: 15 * time.Minute, StopGrace: 30 * time.Second},
		rules:     target.Rules{Cooldown: 5 * time.Minute, BackoffBase: time.Minute, BackoffMax: 10 * time.Minute, MaxFailures: 5},
		workflows: map[string]execution.Workflow{},
	}
	m.engine = enginetest.NewFake(func() time.Time { return m.now })
	for _, name := range []string{"heal", "drain"} {
		m.workflows[name] = execution.Workflow{Resolved: &v1alpha1.ResolvedWorkflow{
			Image: "registry/" + name + "@sha256:1", Engine: "tekton", ServiceAccountName: v1alpha1.DefaultServiceAccount, Registered: true,
			Parameters: []v1alpha1.DeclaredParameter{
				{Name: "MODE", Enum: []string{"fast", "slow"}}, {Name: "COUNT", Type: "integer"}, {Name: "RATIO", Type: "number"},
				{Name: "FORCE", Type: "boolean"}, {Name: "SIZE", Pattern: "[0-9]+(Mi|Gi)"},
			},
			Secrets: []string{"key"},
		}}
	}
	return m
}

// said is one line of a transcript.
type said struct{ who, rule, effect string }

// settle lets everybody decide until nothing changes any more.
func (m *model) settle(t *testing.T) []said {
	t.Helper()
	var all []said
	for range 200 {
		before := len(all)
		for _, ex := range slices.Clone(m.executions) {
			if s, changed := m.step(ex); changed {
				all = append(all, s)
			}
		}
		all = append(all, m.keep()...)
		if len(all) == before {
			return all
		}
	}
	t.Fatalf("no end of decisions: %v", all[len(all)-10:])
	return nil
}

// step lets one execution decide once, and does what it decides.
func (m *model) step(ex *v1alpha1.WorkflowExecution) (said, bool) {
	s := m.snapshot(ex)
	d := execution.Decide(s)
	if d.Do != execution.Nothing {
		effect, err := m.act(s, d)
		refused, ok := errors.AsType[*engine.Refused](err)
		if !ok {
			return said{who: ex.Name, rule: d.Rule, effect: string(d.Do) + effect}, true
		}
		s.Run.Refused = &refused.Refusal
		d = execution.Decide(s)
	}
	line := said{who: ex.Name, rule: d.Rule}
	if execution.Ended(ex) && !slices.Contains(ex.Finalizers, v1alpha1.ExecutionFinalizer) {
		return line, false
	}
	next := execution.Project(s, d)
	m.record(ex, &next)
	changed := !equality.Semantic.DeepEqual(ex.Status, next)
	line.effect = tell(&ex.Status, &next)
	ex.Status = next
	return line, changed
}

func (m *model) record(ex *v1alpha1.WorkflowExecution, next *v1alpha1.WorkflowExecutionStatus) {
	c := execution.AuditRecorded(ex, metav1.ConditionFalse, v1alpha1.ReasonUnavailable, "")
	if m.audit && (execution.Ended(ex) || m.policy.AuditStrict) {
		c = execution.AuditRecorded(ex, metav1.ConditionTrue, v1alpha1.ReasonAcknowledged, "")
	}
	c.LastTransitionTime = metav1.NewTime(epoch)
	meta.SetStatusCondition(&next.Conditions, c)
}

// tell says what a status write changes, in a line.
func tell(before, next *v1alpha1.WorkflowExecutionStatus) string {
	c := meta.FindStatusCondition(next.Conditions, v1alpha1.ConditionSucceeded)
	old := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionSucceeded)
	switch {
	case next.Waiting != nil && next.Waiting.Reason == v1alpha1.ReasonEnding:
		return "status: about to end"
	case next.Waiting != nil && (old == nil || old.Status == metav1.ConditionUnknown || before.Waiting == nil):
		text := "wait: " + next.Waiting.Reason
		if next.Waiting.For != "" {
			text += " (" + next.Waiting.For + ")"
		}
		if next.Waiting.Position > 1 {
			text += fmt.Sprintf(" at place %d", next.Waiting.Position)
		}
		if next.Waiting.Until != nil {
			text += " until " + short(next.Waiting.Until.Sub(epoch))
		}
		return text
	case next.Waiting == nil && before.Waiting != nil && old != nil && old.Status == c.Status && c.Status != metav1.ConditionUnknown:
		return "status: no longer waiting"
	case c != nil && old != nil && old.Status == c.Status && c.Status != metav1.ConditionUnknown:
		return "status: the audit trail has it"
	case next.FailureDetails != nil:
		return fmt.Sprintf("status: %s/%s, code started: %t, %s", next.Phase, c.Reason, next.FailureDetails.WasExecutionFailure, next.FailureDetails.Message)
	case next.SkipDetails != nil:
		return fmt.Sprintf("status: %s/%s, %s", next.Phase, c.Reason, next.SkipDetails.Message)
	case next.UserCodeStarted && !before.UserCodeStarted:
		return fmt.Sprintf("status: %s/%s, code has started", next.Phase, c.Reason)
	}
	return fmt.Sprintf("status: %s/%s", next.Phase, c.Reason)
}

func (m *model) snapshot(ex *v1alpha1.WorkflowExecution) execution.Snapshot {
	s := execution.Snapshot{Now: m.now, Policy: m.policy, Execution: ex, Run: m.observe(refOf(ex))}
	s.Policy.Running = m.engine.Len()
	key, err := target.Canonical(kinds, ex.Spec.TargetResource)
	if err != nil {
		s.Target.Problem = &execution.Problem{Rule: "invalid-target", Reason: v1alpha1.FailureConfigurationError, Message: err.Error()}
	} else {
		s.Target.Key, s.Target.Record = key, target.RecordName(key)
	}
	if rt := m.records[key]; rt != nil {
		s.Target.Object, s.Target.Status = rt, rt.Status
	}
	if m.lacks != "" {
		s.Run = execution.Run{Unasked: m.lacks, Engine: "tekton"}
	}
	s.Workflow = m.workflow(ex)
	for _, other := range m.executions {
		w := other.Status.Waiting
		if other.UID == ex.UID || w == nil || other.Spec.OnBusy != v1alpha1.OnBusyWait || other.Spec.Cancel != nil || execution.Ended(other) ||
			other.Status.Target.Key != key || !other.CreationTimestamp.Before(&ex.CreationTimestamp) {
			continue
		}
		s.Target.Ahead = append(s.Target.Ahead, execution.Waiter{Name: "team/" + other.Name, WorkflowID: other.Spec.WorkflowRef.WorkflowID})
	}
	return s
}

func (m *model) workflow(ex *v1alpha1.WorkflowExecution) execution.Workflow {
	ref := ex.Spec.WorkflowRef
	if ex.Status.Workflow != nil {
		return execution.Workflow{Resolved: ex.Status.Workflow}
	}
	if m.catalog != "" {
		return execution.Workflow{Unavailable: m.catalog}
	}
	w, ok := m.workflows[ref.WorkflowID]
	if !ok {
		return execution.Workflow{Problem: &execution.Problem{Rule: "unknown-workflow", Reason: v1alpha1.FailureConfigurationError, Message: "the catalog has no workflow " + ref.WorkflowID}}
	}
	w.References = m.references
	return w
}

func runName(name string) string { return name + "-run" }

func refOf(ex *v1alpha1.WorkflowExecution) engine.Ref {
	return engine.Ref{Name: runName(ex.Name), Execution: ex.UID}
}

// observe looks at a run; in memory nothing can fail.
func (m *model) observe(ref engine.Ref) execution.Run {
	run, err := m.engine.Observe(context.Background(), ref, engine.Fresh)
	if err != nil {
		panic(err)
	}
	return run
}

func (m *model) act(s execution.Snapshot, d execution.Decision) (effect string, err error) {
	ex := s.Execution
	ctx, ref := context.Background(), refOf(ex)
	switch d.Do {
	case execution.AddFinalizer:
		ex.Finalizers = []string{v1alpha1.ExecutionFinalizer}
	case execution.RemoveFinalizer, execution.HandOver:
		ex.Finalizers, ex.Labels = nil, map[string]string{v1alpha1.LabelSettled: string(ex.Status.Phase)}
		if ex.DeletionTimestamp != nil {
			m.executions = slices.DeleteFunc(m.executions, func(e *v1alpha1.WorkflowExecution) bool { return e == ex })
		}
	case execution.Take:
		rt := m.recordOf(s.Target.Key)
		rt.Status = target.Take(rt.Status, v1alpha1.Holder{
			UID: ex.UID, Namespace: ex.Namespace, Name: ex.Name, WorkflowID: ex.Spec.WorkflowRef.WorkflowID,
			Engine: "tekton", RunName: runName(ex.Name), Since: metav1.NewMicroTime(m.now),
		})
		m.audit = m.audit && !m.loseAudit
		if m.lose != "" {
			m.catalog, m.lose = m.lose, ""
		}
		return " " + s.Target.Key, nil
	case execution.Release:
		rt := m.recordOf(s.Target.Key)
		rt.Status = m.rules.Release(rt.Status, target.OutcomeOf(ex))
		return " " + s.Target.Key + ": " + rt.Status.Message, nil
	case execution.Start:
		return "", m.engine.Start(ctx, engine.Spec{Ref: ref})
	case execution.Occupy:
		return "", m.engine.Occupy(ctx, engine.Spec{Ref: ref})
	case execution.Cancel:
		return m.stop(ref, d.Stop)
	case execution.LetRunGo:
		return "", m.engine.LetGo(ctx, ref)
	}
	return "", nil
}

func (m *model) stop(ref engine.Ref, stop execution.Stop) (effect string, err error) {
	effect = fmt.Sprintf(" (%s, %s)", stop.Mode, stop.Reason)
	if run := m.observe(ref); run.State != execution.RunActive || run.Deleting {
		effect = " parts: " + strings.Join(run.Alive, ", ")
	}
	return effect, m.engine.Cancel(context.Background(), ref, stop)
}

func (m *model) recordOf(key string) *v1alpha1.RemediationTarget {
	if m.records[key] == nil {
		m.records[key] = &v1alpha1.RemediationTarget{Spec: v1alpha1.RemediationTargetSpec{Target: key}}
	}
	return m.records[key]
}

// keep looks after records whose holder has vanished.
func (m *model) keep() []said {
	var all []said
	for key, rt := range m.records {
		h := rt.Status.Holder
		if h == nil || m.gone[h.Name] != h.UID {
			continue
		}
		ref := engine.Ref{Name: h.RunName, Execution: h.UID}
		d := execution.Abandoned(m.observe(ref), m.now)
		line := said{who: "-", rule: d.Rule, effect: string(d.Do)}
		switch d.Do {
		case execution.Nothing:
			continue
		case execution.Cancel:
			effect, _ := m.stop(ref, d.Stop)
			line.effect += effect
		case execution.Occupy:
			if err := m.engine.Occupy(context.Background(), engine.Spec{Ref: ref}); err != nil {
				continue // it is tried again
			}
		case execution.Release:
			o := target.Outcome{Execution: h.UID, Name: h.Namespace + "/" + h.Name, WorkflowID: h.WorkflowID, Phase: d.Ending.Phase, At: m.now}
			if f := d.Ending.Failure; f != nil {
				o.Reason, o.CodeStarted = f.Reason, f.WasExecutionFailure
			}
			rt.Status = m.rules.Release(rt.Status, o)
			line.effect += " " + key + ": " + rt.Status.Message
		}
		all = append(all, line)
	}
	return all
}
