package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/environment"
)

// patience bounds every wait of a spec. Nothing waits that long unless it is
// broken: the machine may be slow, and the condition is watched.
const patience = 3 * time.Minute

// interval is how often a condition is looked at that cannot be watched.
const interval = 200 * time.Millisecond

// world is what one spec has: the cluster, and a namespace of its own.
type world struct {
	testing.TB
	*connect.Cluster
	ctx       context.Context
	namespace string
}

// spec skips under -short, and else returns a world whose namespace goes with
// the test. A failing spec says what its executions look like.
func spec(t testing.TB) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the environment: run make test")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	w := &world{TB: t, Cluster: environmentCluster, ctx: ctx, namespace: "spec-" + rand.String(6)}
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})
	t.Cleanup(w.tidy)
	return w
}

func (w *world) tidy() {
	if w.Failed() {
		w.describe()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := w.Client.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})
	if err != nil && !apierrors.IsNotFound(err) {
		w.Errorf("removing the spec's namespace: %v", err)
	}
}

// describe prints the executions of the spec, and what the diagnosis names in its
// namespace and in the product's own, for whoever reads its failure.
func (w *world) describe() {
	w.diagnose()
	var list v1alpha1.WorkflowExecutionList
	if err := w.Client.List(context.Background(), &list, client.InNamespace(w.namespace)); err != nil {
		w.Logf("listing executions: %v", err)
		return
	}
	for _, e := range list.Items {
		e.ManagedFields = nil
		raw, err := json.MarshalIndent(e, "", "  ")
		if err != nil {
			w.Logf("execution %s: %v", e.Name, err)
			continue
		}
		w.Logf("execution %s:\n%s", e.Name, raw)
	}
}

// diagnose prints the causes, and keeps all that was seen where KUBERNAUT_ARTEFACTS
// names a folder.
func (w *world) diagnose() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	seen, err := environment.DiagnoseNamespaces(ctx, w.Config, w.namespace, v1alpha1.SystemNamespace, v1alpha1.WorkflowNamespace)
	if err != nil {
		w.Logf("no diagnosis: %v", err)
		return
	}
	w.Logf("diagnosis: %d causes\n%s", len(seen.Findings), seen.Text())
	dir := os.Getenv("KUBERNAUT_ARTEFACTS")
	if dir == "" {
		return
	}
	path := filepath.Join(dir, strings.ReplaceAll(w.Name(), "/", "-")+".tar.gz")
	file, err := os.Create(path)
	if err != nil {
		w.Logf("keeping the diagnosis: %v", err)
		return
	}
	defer file.Close()
	if err := seen.Bundle(file); err != nil {
		w.Logf("keeping the diagnosis: %v", err)
		return
	}
	w.Logf("all that was seen is in %s", path)
}

func (w *world) create(o client.Object) {
	w.Helper()
	if err := w.Client.Create(w.ctx, o); err != nil {
		w.Fatalf("creating %T %s: %v", o, client.ObjectKeyFromObject(o), err)
	}
}

// until watches o until ok says so. On the way o is kept up to date.
func until[T client.Object](w *world, o T, list client.ObjectList, ok func(T) bool) T {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	for ctx.Err() == nil {
		found, done := watchOnce(ctx, w, o, list, ok)
		if done {
			return found
		}
	}
	w.Fatalf("%T %s did not come to what was waited for within %s", o, client.ObjectKeyFromObject(o), patience)
	return o
}

func watchOnce[T client.Object](ctx context.Context, w *world, o T, list client.ObjectList, ok func(T) bool) (T, bool) {
	w.Helper()
	events, err := w.Client.Watch(ctx, list, client.InNamespace(o.GetNamespace()), client.MatchingFields{"metadata.name": o.GetName()})
	if err != nil {
		if ctx.Err() == nil {
			w.Fatalf("watching %T %s: %v", o, client.ObjectKeyFromObject(o), err)
		}
		return o, false
	}
	defer events.Stop()
	for e := range events.ResultChan() {
		seen, is := e.Object.(T)
		if is && e.Type != watch.Deleted && ok(seen) {
			return seen, true
		}
	}
	return o, false
}

// execute asks for a run of the workflow on the target.
func (w *world) execute(workflow, target string, edit ...func(*v1alpha1.WorkflowExecution)) *v1alpha1.WorkflowExecution {
	w.Helper()
	e := &v1alpha1.WorkflowExecution{
		ObjectMeta: metav1.ObjectMeta{GenerateName: workflow + "-", Namespace: w.namespace},
		Spec: v1alpha1.WorkflowExecutionSpec{
			WorkflowRef:    v1alpha1.WorkflowRef{WorkflowID: workflow, Version: "1.0.0"},
			TargetResource: target,
		},
	}
	for _, f := range edit {
		f(e)
	}
	w.create(e)
	return e
}

func (w *world) untilExecution(e *v1alpha1.WorkflowExecution, ok func(*v1alpha1.WorkflowExecution) bool) *v1alpha1.WorkflowExecution {
	w.Helper()
	return until(w, e, &v1alpha1.WorkflowExecutionList{}, ok)
}

func (w *world) untilPhase(e *v1alpha1.WorkflowExecution, want v1alpha1.Phase) *v1alpha1.WorkflowExecution {
	w.Helper()
	got := w.untilExecution(e, func(e *v1alpha1.WorkflowExecution) bool { return ended(e) || e.Status.Phase == want })
	if got.Status.Phase != want {
		w.Fatalf("execution %s is %s, want %s", got.Name, got.Status.Phase, want)
	}
	return got
}

func (w *world) untilRecorded(e *v1alpha1.WorkflowExecution) *v1alpha1.WorkflowExecution {
	w.Helper()
	return w.untilExecution(e, func(e *v1alpha1.WorkflowExecution) bool {
		return ended(e) && len(e.Finalizers) == 0
	})
}

func ended(e *v1alpha1.WorkflowExecution) bool {
	switch e.Status.Phase {
	case v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed, v1alpha1.PhaseSkipped, v1alpha1.PhaseCancelled:
		return true
	}
	return false
}

// trail is the audit trail of one execution, oldest first.
func (w *world) trail(e *v1alpha1.WorkflowExecution) []datastorage.StoredEvent {
	w.Helper()
	storage, err := w.DataStorage(w.ctx)
	if err != nil {
		w.Fatal(err)
	}
	var events []datastorage.StoredEvent
	for event, err := range storage.AllEvents(w.ctx, datastorage.QueryAuditEventsParams{CorrelationID: e.CorrelationID(), Order: "asc"}) {
		if err != nil {
			w.Fatal(err)
		}
		events = append(events, event)
	}
	return events
}

// types are the event types of a trail, as one string for comparisons.
func types(trail []datastorage.StoredEvent) string {
	names := make([]string, len(trail))
	for i, e := range trail {
		names[i] = strings.TrimPrefix(e.EventType, "workflowexecution.")
	}
	return strings.Join(names, " ")
}

func (w *world) target(name string) string { return fmt.Sprintf("%s/deployment/%s", w.namespace, name) }
