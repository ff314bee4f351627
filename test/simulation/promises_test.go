package simulation

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/execution"
)

// truth is what really happened, whatever the controller knows of it. All maps
// are by the UID of an execution.
type truth struct {
	runs      map[string]int  // created for it
	ran       map[string]bool // a container of it was started
	succeeded map[string]bool // its run was
	locked    map[string]bool // it held its target
	sabotaged map[string]bool // somebody took a finalizer of ours off it or its run
	robbed    map[string]bool // somebody took a TaskRun or a pod from it
	strangers map[string]bool // somebody else has the name of its run
}

func newTruth() *truth {
	return &truth{runs: map[string]int{}, ran: map[string]bool{}, succeeded: map[string]bool{}, locked: map[string]bool{},
		sabotaged: map[string]bool{}, robbed: map[string]bool{}, strangers: map[string]bool{}}
}

// ours says whether a write is the controller's.
func ours(by string) bool { return strings.HasPrefix(by, "replica") }

// breaks notes the first promise that does not hold.
func (s *simulation) breaks(promise, how string, args ...any) {
	if s.broken == "" {
		s.broken = promise + ": " + fmt.Sprintf(how, args...)
		s.note("BROKEN %s", s.broken)
	}
}

// changed looks at every write to the server.
func (s *simulation) changed(by string, before, after client.Object) {
	switch obj := existing(before, after).(type) {
	case *pipelinev1.PipelineRun:
		s.runChanged(by, as[*pipelinev1.PipelineRun](before), as[*pipelinev1.PipelineRun](after))
	case *v1alpha1.RemediationTarget:
		s.recordChanged(as[*v1alpha1.RemediationTarget](before), as[*v1alpha1.RemediationTarget](after))
	case *v1alpha1.WorkflowExecution:
		s.executionChanged(by, as[*v1alpha1.WorkflowExecution](before), as[*v1alpha1.WorkflowExecution](after))
	case *corev1.ConfigMap:
		if after == nil {
			s.sent(obj)
		}
	case *corev1.Pod:
		if len(obj.Status.ContainerStatuses) > 0 {
			s.truth.ran[owner(obj)] = true
		}
	}
	s.oneLiveRun()
}

func existing(before, after client.Object) client.Object {
	if after != nil {
		return after
	}
	return before
}

func as[T client.Object](obj client.Object) T {
	t, _ := obj.(T)
	return t
}

func (s *simulation) oneLiveRun() {
	working := map[string]string{} // the execution that works on a target
	for _, kind := range []string{"PipelineRun", "TaskRun", "Pod"} {
		for _, k := range sorted(s.server.objects, kind) {
			obj := s.server.objects[k]
			if owner(obj) == "" || !alive(obj) {
				continue
			}
			if other, busy := working[targetOf(obj)]; busy && other != owner(obj) {
				s.breaks("at most one live run per target", "%s of %s is alive beside a run of %s", k, owner(obj), other)
			}
			working[targetOf(obj)] = owner(obj)
		}
	}
}

func (s *simulation) runChanged(by string, before, after *pipelinev1.PipelineRun) {
	switch {
	case before == nil && owner(after) != "" && !occupies(after):
		s.runCreated(after)
	case before != nil && owner(before) == "" && ours(by):
		s.breaks("a stranger's run is left alone", "%s has changed %s", by, before.Name)
	case after != nil && after.IsDone() && after.Status.GetCondition("Succeeded").IsTrue():
		s.truth.succeeded[owner(after)] = true
	}
}

func (s *simulation) runCreated(pr *pipelinev1.PipelineRun) {
	uid := owner(pr)
	s.truth.runs[uid]++
	if s.truth.runs[uid] > 1 && !s.truth.sabotaged[uid] {
		s.breaks("at most one run per execution", "%s is the %dth of execution %s", pr.Name, s.truth.runs[uid], uid)
	}
	for _, k := range sorted(s.server.objects, "WorkflowExecution") {
		if ex := s.server.objects[k].(*v1alpha1.WorkflowExecution); string(ex.UID) == uid && execution.Ended(ex) {
			s.breaks("what has ended starts nothing", "%s was created for %s, which is %s", pr.Name, ex.Name, ex.Status.Phase)
		}
	}
	if h := s.holderOf(targetOf(pr)); (h == nil || string(h.UID) != uid) && !s.truth.sabotaged[uid] {
		s.breaks("only who holds a target starts a run", "%s was created for execution %s, the holder is %v", pr.Name, uid, h)
	}
}

func (s *simulation) holderOf(target string) *v1alpha1.Holder {
	for _, k := range sorted(s.server.objects, "RemediationTarget") {
		if rt := s.server.objects[k].(*v1alpha1.RemediationTarget); rt.Spec.Target == target {
			return rt.Status.Holder
		}
	}
	return nil
}

func (s *simulation) recordChanged(before, after *v1alpha1.RemediationTarget) {
	var was, is *v1alpha1.Holder
	if before != nil {
		was = before.Status.Holder
	}
	if after != nil {
		is = after.Status.Holder
	}
	if is != nil && !s.hasEnded(is) {
		s.truth.locked[string(is.UID)] = true
	}
	switch {
	case was == nil || is != nil && is.UID == was.UID:
	case is != nil:
		s.breaks("a target is taken only when it is free", "%s has it from %s", is.Name, was.Name)
	case after == nil:
		s.breaks("the record of a held target stays", "it is gone, held by %s", was.Name)
	default:
		s.released(was, before.Spec.Target)
	}
	if before != nil && after != nil && after.Status.FencingToken < before.Status.FencingToken {
		s.breaks("the fencing token only grows", "from %d to %d", before.Status.FencingToken, after.Status.FencingToken)
	}
}

// hasEnded says whether a holder is an execution that has ended or is gone: one
// that was paused for long between its last look and the write takes a target for
// nobody, and nothing is started for it.
func (s *simulation) hasEnded(h *v1alpha1.Holder) bool {
	ex, there := s.server.objects[key{"WorkflowExecution", named(h.Namespace, h.Name)}].(*v1alpha1.WorkflowExecution)
	return !there || ex.UID != h.UID || execution.Ended(ex)
}

// released: the run has stopped, and the outcome stands in status before.
func (s *simulation) released(h *v1alpha1.Holder, target string) {
	for _, kind := range []string{"PipelineRun", "TaskRun", "Pod"} {
		for _, k := range sorted(s.server.objects, kind) {
			if obj := s.server.objects[k]; owner(obj) == string(h.UID) && alive(obj) {
				s.breaks("a target is released only when its run has stopped", "%s is released, %s of %s is alive", target, k, h.Name)
			}
		}
	}
	ex, there := s.server.objects[key{"WorkflowExecution", named(h.Namespace, h.Name)}].(*v1alpha1.WorkflowExecution)
	if there && ex.UID == h.UID && !execution.Ended(ex) {
		s.breaks("the outcome stands in status before the target is released", "%s is %s", h.Name, ex.Status.Phase)
	}
}

func (s *simulation) executionChanged(by string, before, after *v1alpha1.WorkflowExecution) {
	if before == nil {
		return
	}
	if after != nil && execution.Ended(before) && !sameOutcome(before, after) {
		s.breaks("an outcome never changes", "%s was %s, is %s", before.Name, before.Status.Phase, after.Status.Phase)
	}
	if after != nil && before.Status.UserCodeStarted && !after.Status.UserCodeStarted {
		s.breaks("user code that has started has started", "%s", before.Name)
	}
	if after != nil && !execution.Ended(before) && execution.Ended(after) {
		s.ended(after)
	}
	if after != nil && after.Labels[v1alpha1.LabelSettled] != "" && (!execution.Ended(after) || slices.Contains(after.Finalizers, v1alpha1.ExecutionFinalizer)) {
		s.breaks("what nobody watches any more owes nothing", "%s is marked as settled, phase %s, finalizers %v", after.Name, after.Status.Phase, after.Finalizers)
	}
	kept := after != nil && slices.Contains(after.Finalizers, v1alpha1.ExecutionFinalizer)
	if ours(by) && slices.Contains(before.Finalizers, v1alpha1.ExecutionFinalizer) && !kept {
		s.letGo(before)
	}
}

func sameOutcome(a, b *v1alpha1.WorkflowExecution) bool {
	return a.Status.Phase == b.Status.Phase && reflect.DeepEqual(a.Status.CompletionTime, b.Status.CompletionTime) &&
		reflect.DeepEqual(a.Status.FailureDetails, b.Status.FailureDetails) && reflect.DeepEqual(a.Status.SkipDetails, b.Status.SkipDetails)
}

// ended: what the status says of the end is what happened.
func (s *simulation) ended(ex *v1alpha1.WorkflowExecution) {
	uid := string(ex.UID)
	f := ex.Status.FailureDetails
	if t := ex.Status.Target; t == nil || t.LockedAt == nil { // it was decided before another replica took the target for it
		s.truth.locked[uid] = false
	}
	switch {
	case ex.Status.Phase == v1alpha1.PhaseCompleted && !s.truth.succeeded[uid]:
		s.breaks("an execution completes when its run succeeds", "%s had no run that did", ex.Name)
	case ex.Status.Phase == v1alpha1.PhaseSkipped && s.truth.runs[uid] > 0:
		s.breaks("what is skipped has no run", "%s has one", ex.Name)
	case f != nil && !f.WasExecutionFailure && s.truth.ran[uid] && !s.truth.sabotaged[uid] && !s.truth.robbed[uid]:
		s.breaks("that no user code had started is proved", "%s ended with %s: %s", ex.Name, f.Reason, f.Message)
	case f != nil && strings.Contains(f.Message, "belongs to somebody else") && !s.truth.strangers[uid]:
		s.breaks("the name of a run is free for its execution", "%s found it taken: %s", ex.Name, f.Message)
	}
}

// letGo: nothing is owed any more. A target that was taken for it after its end, of
// which it knows nothing, is freed by who looks after the record.
func (s *simulation) letGo(ex *v1alpha1.WorkflowExecution) {
	if t := ex.Status.Target; t != nil && t.LockedAt != nil {
		if h := s.holderOf(ex.Status.Target.Key); h != nil && h.UID == ex.UID {
			s.breaks("an execution goes after its target is released", "%s still holds it", ex.Name)
		}
	}
	if !execution.Ended(ex) {
		s.breaks("an execution is let go when it has ended", "%s is %s", ex.Name, ex.Status.Phase)
	}
	s.complete(ex)
}

// complete: every transition is in the trail, once.
func (s *simulation) complete(ex *v1alpha1.WorkflowExecution) {
	const promise = "every transition is in the trail exactly once before an execution goes"
	uid := string(ex.UID)
	want := map[string]bool{"created": true, "locked": s.truth.locked[uid], "started": s.truth.runs[uid] > 0}
	for _, transition := range []string{"created", "locked", "started"} {
		if has := s.recorded(uid, transition); has != want[transition] && !s.truth.sabotaged[uid] {
			s.breaks(promise, "%s of %s: in the trail %t, happened %t", transition, ex.Name, has, want[transition])
		}
	}
	ends := 0
	for _, transition := range []string{"completed", "failed", "skipped", "cancelled"} {
		if s.recorded(uid, transition) {
			ends++
		}
	}
	// The success of a run stands in the run alone until the status has it.
	forgotten := ends == 2 && s.truth.sabotaged[uid] && s.recorded(uid, "completed")
	if ends != 1 && !forgotten {
		s.breaks(promise, "%s has %d endings", ex.Name, ends)
	}
}

// recorded: it is in the trail, or kept until it can be sent.
func (s *simulation) recorded(uid, transition string) bool {
	if s.storage.has(uid, transition) {
		return true
	}
	kept, there := s.server.objects[key{"ConfigMap", named(v1alpha1.SystemNamespace, "audit-"+uid)}].(*corev1.ConfigMap)
	return there && strings.Contains(kept.Data["events.json"], audit.EventID(uid, transition).String())
}

// sent: what was kept is in the trail before it goes.
func (s *simulation) sent(kept *corev1.ConfigMap) {
	var events []audit.Event
	must(json.Unmarshal([]byte(kept.Data["events.json"]), &events))
	for _, e := range events {
		if _, there := s.storage.events[e.EventID.String()]; !there {
			s.breaks("what is kept for the trail goes when it is there", "%s of %s", e.EventType, e.ResourceName)
		}
	}
}

// unfinished says what does not rest yet, or nothing.
func (s *simulation) unfinished() string {
	for _, k := range sorted(s.server.objects, "WorkflowExecution") {
		ex := s.server.objects[k].(*v1alpha1.WorkflowExecution)
		c := meta.FindStatusCondition(ex.Status.Conditions, v1alpha1.ConditionSucceeded)
		switch {
		case ex.DeletionTimestamp != nil:
			return fmt.Sprintf("execution %s is deleted and does not go: %s, waiting %+v", k.Name, ex.Status.Phase, ex.Status.Waiting)
		case !execution.Ended(ex):
			return fmt.Sprintf("execution %s is %s: %+v", k.Name, ex.Status.Phase, c)
		case len(ex.Finalizers) > 0:
			return fmt.Sprintf("execution %s has ended (%s) and keeps %v, waiting %+v", k.Name, ex.Status.Phase, ex.Finalizers, ex.Status.Waiting)
		case ex.Labels[v1alpha1.LabelSettled] != string(ex.Status.Phase):
			return fmt.Sprintf("execution %s has ended (%s) and is still watched", k.Name, ex.Status.Phase)
		}
	}
	for _, k := range sorted(s.server.objects, "RemediationTarget") {
		if h := s.server.objects[k].(*v1alpha1.RemediationTarget).Status.Holder; h != nil {
			return fmt.Sprintf("target %s is held by %s", k.Name, h.Name)
		}
	}
	for _, k := range sorted(s.server.objects, "PipelineRun") {
		if pr := s.server.objects[k]; owner(pr) != "" && (alive(pr) || pr.GetDeletionTimestamp() != nil) {
			return fmt.Sprintf("run %s is there, alive %t, deleted %v", k.Name, alive(pr), pr.GetDeletionTimestamp())
		}
	}
	for _, k := range sorted(s.server.objects, "ConfigMap") {
		if !s.inConflict(s.server.objects[k].(*corev1.ConfigMap)) {
			return fmt.Sprintf("%s keeps events", k.Name)
		}
	}
	return ""
}

// inConflict: the trail holds other content of one of the events, and somebody has
// to look at the only copy of ours.
func (s *simulation) inConflict(kept *corev1.ConfigMap) bool {
	var events []audit.Event
	must(json.Unmarshal([]byte(kept.Data["events.json"]), &events))
	for _, e := range events {
		sealed, err := audit.Seal(e)
		must(err)
		if known, there := s.storage.events[e.EventID.String()]; there && !known.SameContent(sealed) {
			return true
		}
	}
	return false
}
