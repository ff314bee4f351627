package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/target"
)

// trailOf answers every event alike.
type trailOf struct {
	answer error
	asked  int
}

func (a *trailOf) Record(context.Context, datastorage.AuditEvent) (datastorage.Receipt, error) {
	a.asked++
	return datastorage.Receipt{}, a.answer
}

// server keeps the last object that was deleted, or whose status was updated.
type server struct {
	client.Client
	deleted, updated client.Object
}

func (s *server) Delete(_ context.Context, obj client.Object, _ ...client.DeleteOption) error {
	s.deleted = obj
	return nil
}

func (s *server) Status() client.SubResourceWriter { return statusOf{server: s} }

type statusOf struct {
	client.SubResourceWriter
	server *server
}

func (s statusOf) Update(_ context.Context, obj client.Object, _ ...client.SubResourceUpdateOption) error {
	s.server.updated = obj
	return nil
}

var errConflict = fmt.Errorf("%w: other content", datastorage.ErrConflict)

func TestTheOnlyCopyIsKeptUntilTheTrailHasIt(t *testing.T) {
	for _, c := range []struct {
		why       string
		answer    error
		deleted   bool
		again     bool // it is sent again
		conflicts float64
	}{
		{"it is safe", nil, true, false, 0},
		{"nobody answers", fmt.Errorf("%w: connection refused", datastorage.ErrUnavailable), false, true, 0},
		{"it is refused", fmt.Errorf("%w: no such field", datastorage.ErrInvalid), false, true, 0},
		{"the trail holds other content", errConflict, false, false, 1},
	} {
		kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "audit-u", UID: "cm"}, Data: map[string]string{outboxKey: `[{"event_action":"created"}]`}}
		api, trail, r := &server{}, &trailOf{answer: c.answer}, prometheus.NewRegistry()
		courier := &Courier{Client: api, Audit: trail, Conflicts: NewCounted(silent{}, r).conflicts}
		result, err := courier.Reconcile(t.Context(), kept)
		if err != nil || (api.deleted != nil) != c.deleted || (result.RequeueAfter > 0) != c.again {
			t.Errorf("%s: deleted %t, looked at again after %s (%v); want %t, again %t", c.why, api.deleted != nil, result.RequeueAfter, err, c.deleted, c.again)
		}
		if _, err := courier.Reconcile(t.Context(), kept); err != nil {
			t.Error(err)
		}
		if wantAsked := map[bool]int{false: 2, true: 1}[c.conflicts > 0]; trail.asked != wantAsked {
			t.Errorf("%s: sent %d times, want %d", c.why, trail.asked, wantAsked)
		}
		if got := gathered(t, r)["workflowexecution_audit_conflicts_total"]; got != c.conflicts {
			t.Errorf("%s: %v conflicts are told, want %v", c.why, got, c.conflicts)
		}
	}
}

// answers gives each event the answer of its action.
type answers map[string]error

func (a answers) Record(_ context.Context, e datastorage.AuditEvent) (datastorage.Receipt, error) {
	return datastorage.Receipt{}, a[e.EventAction]
}

func TestTheAnswerThatCountsOfMany(t *testing.T) {
	refused := fmt.Errorf("%w: no such field", datastorage.ErrInvalid)
	away := fmt.Errorf("%w: connection refused", datastorage.ErrUnavailable)
	three := []datastorage.AuditEvent{{EventAction: "a"}, {EventAction: "b"}, {EventAction: "c"}}
	for why, c := range map[string]struct {
		answers answers
		want    error
	}{
		"all safe":                         {answers{}, nil},
		"a conflict beside a refusal":      {answers{"a": errConflict, "c": refused}, errConflict},
		"a refusal beside a conflict":      {answers{"a": refused, "c": errConflict}, errConflict},
		"a refusal alone":                  {answers{"b": refused}, refused},
		"one that may yet be acknowledged": {answers{"a": refused, "b": away, "c": errConflict}, away},
	} {
		if got := send(t.Context(), c.answers, three); !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", why, got, c.want)
		}
	}
}

func TestAConflictOfAClearingIsCounted(t *testing.T) {
	api, r := &server{}, prometheus.NewRegistry()
	k := &Keeper{Client: api, Targets: &target.Store{Client: api}, Audit: &trailOf{answer: errConflict}, Conflicts: NewCounted(silent{}, r).conflicts}
	rt := &v1alpha1.RemediationTarget{Status: v1alpha1.RemediationTargetStatus{LastCleared: &v1alpha1.ClearedBlock{Workflow: "heal", BlockID: "b", At: metav1.NewTime(time.Unix(1e9, 0))}}}
	if _, err := k.Reconcile(t.Context(), rt); err != nil {
		t.Fatal(err)
	}
	if now, ok := api.updated.(*v1alpha1.RemediationTarget); !ok || !now.Status.LastCleared.Recorded {
		t.Errorf("the clearing is sent for ever: %+v", api.updated)
	}
	if got := gathered(t, r)["workflowexecution_audit_conflicts_total"]; got != 1 {
		t.Errorf("%v conflicts are told, want 1", got)
	}
}

// TestWhatIsLeftBehindHasTheStart: who goes before the catalog has said what was
// started leaves the start behind all the same.
func TestWhatIsLeftBehindHasTheStart(t *testing.T) {
	at := metav1.NewTime(time.Unix(1e9, 0))
	d := newDesk(t, func(ex *v1alpha1.WorkflowExecution) {
		ex.Status = v1alpha1.WorkflowExecutionStatus{
			Phase: v1alpha1.PhaseCompleted, StartTime: &at, CompletionTime: &at,
			Target:         &v1alpha1.ResolvedTarget{Key: "team/deployment.apps/api", LockedAt: &metav1.MicroTime{Time: at.Time}},
			PipelineRunRef: &v1alpha1.RunReference{Name: "run", Engine: "tekton"},
			Conditions:     []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue}},
		}
	})
	if err := d.Client.Get(t.Context(), client.ObjectKeyFromObject(d.ex), d.ex); err != nil {
		t.Fatal(err)
	}
	if err := d.handOver(t.Context(), d.ex); err != nil {
		t.Fatal(err)
	}
	var kept corev1.ConfigMap
	if err := d.Client.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: outboxPrefix + string(d.ex.UID)}, &kept); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{`"event_action":"started"`, `"preceded_by":["created","locked","started"]`} {
		if !strings.Contains(kept.Data[outboxKey], what) {
			t.Errorf("%s is not among what is kept: %s", what, kept.Data[outboxKey])
		}
	}
}
