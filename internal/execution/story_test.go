package execution_test

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/execution"
	"kubernaut.ai/kubernaut/internal/target"
)

// kinds are those that the stories know.
var kinds = func() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, meta.RESTScopeNamespace)
	m.Add(schema.GroupVersionKind{Version: "v1", Kind: "Node"}, meta.RESTScopeRoot)
	return m
}()

// happen changes the world as an event of a story says.
func (m *model) happen(event string, words []string) error {
	events := map[string]func([]string) error{
		"create": m.create, "cancel": m.cancel, "delete": m.remove, "vanish": m.vanish, "run": m.runEvent, "clear": m.clear,
		"catalog": m.catalogEvent, "audit": m.auditEvent,
		"time":   func([]string) error { return nil },
		"refuse": m.refuse, "pause": func(w []string) error { m.policy.Paused = strings.Join(w, " "); return nil },
		"limit":     func(w []string) error { _, err := fmt.Sscan(w[0], &m.policy.MaxRunning); return err },
		"reference": m.reference,
		"engine":    func(w []string) error { m.lacks = strings.Join(w[1:], " "); return nil }, // gone WHY… | back
		"strict":    func([]string) error { m.policy.AuditStrict = true; return nil },
	}
	act, ok := events[event]
	if !ok {
		return fmt.Errorf("unknown event %s", event)
	}
	return act(words)
}

// create NAME TARGET [key=value …]
func (m *model) create(words []string) error {
	ex := &v1alpha1.WorkflowExecution{ObjectMeta: metav1.ObjectMeta{
		Namespace: "team", Name: words[0], UID: types.UID(words[0] + "-uid"), Generation: 1, CreationTimestamp: metav1.NewTime(m.now),
	}}
	ex.Spec.WorkflowRef = v1alpha1.WorkflowRef{WorkflowID: "heal", Version: "1"}
	ex.Spec.TargetResource = words[1]
	for _, w := range words[2:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "workflow":
			ex.Spec.WorkflowRef.WorkflowID = value
		case "onBusy":
			ex.Spec.OnBusy = v1alpha1.OnBusy(value)
		case "maxWait":
			ex.Spec.MaxWait = parsed(value)
		case "timeout":
			ex.Spec.ExecutionConfig = &v1alpha1.ExecutionConfig{Timeout: parsed(value)}
		case "account":
			ex.Spec.ExecutionConfig = &v1alpha1.ExecutionConfig{ServiceAccountName: value}
		case "secret":
			ex.Spec.SecretRefs = append(ex.Spec.SecretRefs, value)
		case "announced": // as about to end, by another replica
			ex.Status.Waiting = &v1alpha1.Waiting{Reason: v1alpha1.ReasonEnding, Message: "b holds the target", Since: metav1.NewTime(m.now)}
		case "deleting":
			at := metav1.NewTime(m.now)
			ex.DeletionTimestamp = &at
		default:
			if ex.Spec.Parameters == nil {
				ex.Spec.Parameters = map[string]string{}
			}
			ex.Spec.Parameters[key] = value
		}
	}
	m.executions = append(m.executions, ex)
	return nil
}

func parsed(text string) *metav1.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err) // the story is wrong
	}
	return &metav1.Duration{Duration: d}
}

func (m *model) find(name string) (*v1alpha1.WorkflowExecution, error) {
	for _, ex := range m.executions {
		if ex.Name == name {
			return ex, nil
		}
	}
	return nil, fmt.Errorf("no execution %s", name)
}

// cancel NAME MODE REASON…
func (m *model) cancel(words []string) error {
	ex, err := m.find(words[0])
	if err != nil {
		return err
	}
	ex.Spec.Cancel = &v1alpha1.CancelRequest{Mode: v1alpha1.CancelMode(words[1]), Reason: strings.Join(words[2:], " "), RequestedBy: "alice"}
	return nil
}

// delete NAME
func (m *model) remove(words []string) error {
	ex, err := m.find(words[0])
	if err == nil {
		at := metav1.NewTime(m.now)
		ex.DeletionTimestamp = &at
	}
	return err
}

// vanish NAME: its finalizer is removed by force.
func (m *model) vanish(words []string) error {
	ex, err := m.find(words[0])
	if err != nil {
		return err
	}
	m.gone[ex.Name] = ex.UID
	ex.Finalizers = nil
	for i, other := range m.executions {
		if other == ex {
			m.executions = append(m.executions[:i], m.executions[i+1:]...)
			break
		}
	}
	return nil
}

// run NAME WHAT …
func (m *model) runEvent(words []string) error {
	name := runName(words[0])
	run := m.engine.Run(name)
	if words[1] == "is-a-stranger" {
		m.engine.Take(name)
		return nil
	}
	if run == nil {
		return fmt.Errorf("no run %s", name)
	}
	finish := func(reason, message string) {
		run.State, run.Reason, run.Message, run.Finished = execution.RunFinished, reason, message, m.now
	}
	switch words[1] {
	case "works":
		run.CodeStarted, run.TotalTasks, run.Hold = true, 1, nil
	case "waits":
		run.Hold = &execution.Hold{Reason: v1alpha1.FailureReason(words[2]), Message: strings.Join(words[3:], " ")}
	case "forgets": // a pod that is deleted says no more what it waits for
		run.Hold = nil
	case "hopes-in-vain":
		run.Hold = &execution.Hold{Reason: v1alpha1.FailureReason(words[2]), Message: strings.Join(words[3:], " "), Hopeless: true}
	case "succeeds":
		run.CodeStarted, run.Succeeded, run.Hold = true, true, nil
		finish("Succeeded", "Tasks Completed: 1")
	case "fails":
		m.taskFails(run, words[2])
		finish("Failed", "Tasks Completed: 1 (Failed: 1)")
	case "stops":
		run.Cancelled = true
		finish("Cancelled", "the run was cancelled")
	case "times-out":
		run.TimedOut = true
		finish("PipelineRunTimeout", "failed to finish within its timeout")
	case "cannot-get-bundle":
		finish("CouldntGetPipeline", "GET https://registry/v2/heal: MANIFEST_UNKNOWN: manifest unknown")
	case "is-deleted":
		run.Deleting = true
	case "has-parts":
		run.Alive, run.Orphans = words[2:], words[2:]
	case "has-endless-parts": // its engine is to end them, and does not
		run.Alive, run.Unended = words[2:], words[2:]
	case "parts-end":
		run.Alive, run.Orphans, run.Unended = nil, nil, nil
	case "vanishes":
		m.engine.Vanish(name)
	case "loses":
		run.LostChild, run.LostReason = words[2], v1alpha1.FailureReason(words[3])
	case "awakes": // a paused old controller, or somebody else, sets it going again
		run.State, run.Stopping = execution.RunActive, ""
	default:
		return fmt.Errorf("unknown event %s of a run", words[1])
	}
	return nil
}

func (m *model) taskFails(run *execution.Run, how string) {
	run.CodeStarted = true
	step := execution.Step{Name: "main", Created: true, Terminated: true, ExitCode: 1, Reason: "Error"}
	task := execution.Task{Name: "act", Failed: true, Reason: "StepFailed"}
	switch how {
	case "oom":
		step.ExitCode, step.Reason, task.Reason = 137, "OOMKilled", "StepOOM"
	case "kill":
		step.ExitCode = 137
	case "image":
		run.CodeStarted, step.Created, task.Reason = false, false, "TaskRunImagePullFailed"
	}
	task.Message = fmt.Sprintf("%q exited with code %d", "step-main", step.ExitCode)
	task.Steps, run.Tasks = []execution.Step{step}, []execution.Task{task}
}

// clear TARGET WORKFLOW
func (m *model) clear(words []string) error {
	rt := m.records[words[0]]
	for _, h := range rt.Status.Workflows {
		if h.WorkflowID != words[1] || h.Block == nil {
			continue
		}
		next, ok := target.Clear(rt.Status, v1alpha1.ClearBlock{Workflow: words[1], BlockID: h.Block.ID, Reason: "looked", ClearedBy: "alice"}, m.now)
		if rt.Status = next; ok {
			return nil
		}
	}
	return fmt.Errorf("no block of %s on %s", words[1], words[0])
}

// catalog down WHY… | catalog up | catalog lost-with-the-next-take WHY…
func (m *model) catalogEvent(words []string) error {
	m.catalog = ""
	switch why := strings.Join(words[1:], " "); words[0] {
	case "down":
		m.catalog = why
	case "lost-with-the-next-take":
		m.lose = why
	}
	return nil
}

// audit up | audit down | audit lost-with-the-next-take
func (m *model) auditEvent(words []string) error {
	if m.loseAudit = words[0] == "lost-with-the-next-take"; !m.loseAudit {
		m.audit = words[0] == "up"
	}
	return nil
}

// refuse REASON [passing] | refuse nothing
func (m *model) refuse(words []string) error {
	m.engine.Refusal = nil
	if words[0] != "nothing" {
		m.engine.Refusal = &execution.Refusal{Reason: v1alpha1.FailureReason(words[0]), Message: "the API server says no", Passing: len(words) > 1}
	}
	return nil
}

// reference KIND NAME STATE
func (m *model) reference(words []string) error {
	m.references = []execution.Reference{{Kind: words[0], Name: words[1], Exists: words[2] != "absent", ForWorkflows: words[2] == "labelled"}}
	return nil
}
