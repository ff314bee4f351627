package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// database connects to PostgreSQL with the credentials of Data Storage.
func (w *world) database() *pgx.Conn {
	w.Helper()
	var secret corev1.Secret
	if err := w.Client.Get(w.ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: "postgresql"}, &secret); err != nil {
		w.Fatal(err)
	}
	u := url.URL{
		Scheme: "postgres", Host: "postgresql." + v1alpha1.SystemNamespace + ".svc:5432", Path: "kubernaut",
		User: url.UserPassword("kubernaut_service", string(secret.Data["service-password"])),
	}
	cfg, err := pgx.ParseConfig(u.String())
	if err != nil {
		w.Fatal(err)
	}
	cfg.DialFunc = pgconn.DialFunc(w.Dial)
	cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	db, err := pgx.ConnectConfig(w.ctx, cfg)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = db.Close(context.Background()) })
	return db
}

func TestTheTrailStandsInPostgreSQLWithItsDigest(t *testing.T) {
	t.Parallel()
	w := spec(t)
	w.deployment("app")
	e := w.untilRecorded(w.execute("increase-memory", w.target("app"), limit("64Mi")))

	rows, err := w.database().Query(w.ctx, `
		SELECT a.event_type, a.event_data->'workflow'->>'workflow_id', a.content, i.digest
		FROM audit_events a JOIN audit_event_id i USING (event_id)
		WHERE a.correlation_id = $1 ORDER BY a.event_timestamp, a.event_id`, e.CorrelationID())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	var eventType string
	var workflow *string
	var canonical, digest []byte
	_, err = pgx.ForEachRow(rows, []any{&eventType, &workflow, &canonical, &digest}, func() error {
		name := "-"
		if workflow != nil {
			name = *workflow
		}
		got = append(got, eventType+" "+name)
		if sum := sha256.Sum256(canonical); string(sum[:]) != string(digest) {
			t.Errorf("%s: the digest is not that of the canonical bytes", eventType)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"workflowexecution.created increase-memory",
		"workflowexecution.locked -",
		"workflowexecution.started increase-memory",
		"workflowexecution.completed increase-memory",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhileTheDatabaseIsAwayRemediesRunAndNothingIsLost(t *testing.T) {
	w := spec(t)
	w.deployment("app")
	// The catalog's entry is seen once, so that the controller knows it.
	w.untilRecorded(w.execute("increase-memory", w.target("app"), limit("64Mi")))
	w.deployment("other")

	w.scaleDatabase(0)
	t.Cleanup(func() { w.scaleDatabase(1) })
	e := w.untilPhase(w.execute("increase-memory", w.target("other"), limit("64Mi")), v1alpha1.PhaseCompleted)

	w.scaleDatabase(1)
	e = w.untilRecorded(e)
	w.untilTrail(e, "created locked started completed")
}

// untilTrail reads the trail until it is complete: parked events come to the
// database in their own time.
func (w *world) untilTrail(e *v1alpha1.WorkflowExecution, want string) {
	w.Helper()
	got := ""
	err := wait.PollUntilContextTimeout(w.ctx, interval, patience, true, func(context.Context) (bool, error) {
		got = types(w.trail(e))
		return got == want, nil
	})
	if err != nil {
		w.Fatalf("the trail is %q, want %q", got, want)
	}
}

func (w *world) scaleDatabase(replicas int32) {
	w.Helper()
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "postgresql"}}
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	if err := w.Client.Patch(context.Background(), set, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		w.Fatalf("scaling PostgreSQL: %v", err)
	}
	until(w, set, &appsv1.StatefulSetList{}, func(s *appsv1.StatefulSet) bool {
		return s.Status.ObservedGeneration >= s.Generation && s.Status.Replicas == replicas && s.Status.ReadyReplicas == replicas
	})
}

func TestTransitionsAreKubernetesEvents(t *testing.T) {
	t.Parallel()
	w := spec(t)
	w.deployment("app")
	e := w.untilRecorded(w.execute("increase-memory", w.target("app"), limit("64Mi")))

	var list corev1.EventList
	if err := w.Client.List(w.ctx, &list, client.InNamespace(w.namespace), client.MatchingFields{"involvedObject.name": e.Name}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, event := range list.Items {
		seen[event.Reason] = true
	}
	for _, want := range []string{v1alpha1.ReasonLocked, v1alpha1.ReasonCreated, v1alpha1.ReasonCompleted} {
		if !seen[want] {
			t.Errorf("no event %s; there are %v", want, seen)
		}
	}
}

func TestTheControllerCountsOutcomes(t *testing.T) {
	t.Parallel()
	w := spec(t)
	w.deployment("app")
	w.untilRecorded(w.execute("increase-memory", w.target("app"), limit("64Mi")))

	var pods corev1.PodList
	if err := w.Client.List(w.ctx, &pods, client.InNamespace(v1alpha1.SystemNamespace),
		client.MatchingLabels{"app.kubernetes.io/component": "controller"}); err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) == 0 {
		t.Fatal("no pod of the controller")
	}
	raw, err := w.Core.CoreV1().Pods(v1alpha1.SystemNamespace).ProxyGet("http", pods.Items[0].Name, "8080", "/metrics", nil).DoRaw(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), `workflowexecution_total{outcome="Completed"}`) {
		t.Error("the metrics count no completed execution")
	}
}
