package controller

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/engine/enginetest"
	"kubernaut.ai/kubernaut/internal/execution"
	"kubernaut.ai/kubernaut/internal/target"
)

// desk is a reconciler whose whole world is in memory.
type desk struct {
	*testing.T
	*Reconciler
	engine *witnessed
	ex     *v1alpha1.WorkflowExecution
	log    []string // what is logged at Info
}

// witnessed is an engine of whose runs the last words are known.
type witnessed struct {
	*enginetest.Fake
	words []string
}

func (w *witnessed) Evidence(context.Context, engine.Ref) []string { return w.words }

// ledger takes every event.
type ledger struct{}

func (ledger) Record(_ context.Context, e datastorage.AuditEvent) (datastorage.Receipt, error) {
	return datastorage.Receipt{EventID: e.EventID}, nil
}

func newDesk(t *testing.T, edit func(*v1alpha1.WorkflowExecution), beside ...client.Object) *desk {
	t.Helper()
	ex := &v1alpha1.WorkflowExecution{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "heals", UID: "u-1", Finalizers: []string{v1alpha1.ExecutionFinalizer}, CreationTimestamp: metav1.Now()},
		Spec:       v1alpha1.WorkflowExecutionSpec{WorkflowRef: v1alpha1.WorkflowRef{WorkflowID: "heal", Version: "1.0.0"}, TargetResource: "team/deployment/api"},
	}
	edit(ex)
	c := fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(append(beside, ex)...).
		WithStatusSubresource(&v1alpha1.WorkflowExecution{}, &v1alpha1.RemediationTarget{}).
		WithIndex(&v1alpha1.WorkflowExecution{}, indexWaitsFor, waitsFor).WithIndex(&v1alpha1.WorkflowExecution{}, indexComesTo, comesTo).Build()
	kinds := meta.NewDefaultRESTMapper(nil)
	kinds.Add(appsv1.SchemeGroupVersion.WithKind("Deployment"), meta.RESTScopeNamespace)
	entry := datastorage.Workflow{WorkflowName: "heal", Version: "1.0.0", ContainerImage: "registry/heal:v1", ContainerDigest: "sha256:" + strings.Repeat("0", 64),
		ExecutionEngine: "tekton", Status: datastorage.WorkflowStatusActive, Secrets: []string{"login"}}
	d := &desk{T: t, ex: ex, engine: &witnessed{Fake: enginetest.NewFake(time.Now)}}
	d.Reconciler = &Reconciler{
		Client: c, Reader: c, Targets: &target.Store{Client: c, Reader: c}, Kinds: kinds,
		Engines: engine.SetOf(map[string]engine.Engine{"tekton": d.engine}),
		Library: &Library{Catalog: &shelf{entry: entry}}, Audit: ledger{}, Notify: silent{},
		Policy: execution.Policy{Timeout: time.Hour, MaxWait: time.Hour}, Now: time.Now,
	}
	return d
}

// look reconciles the execution as it is now, once.
func (d *desk) look() *v1alpha1.WorkflowExecution {
	d.Helper()
	sink := funcr.New(func(_, line string) { d.log = append(d.log, line) }, funcr.Options{})
	key := client.ObjectKeyFromObject(d.ex)
	d.ex = &v1alpha1.WorkflowExecution{}
	if err := d.Client.Get(d.Context(), key, d.ex); err != nil {
		d.Fatal(err)
	}
	if _, err := d.Reconcile(ctrl.LoggerInto(d.Context(), sink), d.ex); err != nil {
		d.Fatal(err)
	}
	if err := d.Client.Get(d.Context(), key, d.ex); err != nil {
		d.Fatal(err)
	}
	return d.ex
}

// until reconciles until ok.
func (d *desk) until(what string, ok func(*v1alpha1.WorkflowExecution) bool) {
	d.Helper()
	for range 10 {
		if ok(d.look()) {
			return
		}
	}
	d.Fatalf("it does not come to this: %s; conditions %+v", what, d.ex.Status.Conditions)
}

func (d *desk) run() *execution.Run { return d.engine.Run(engine.NameFor(d.ex)) }

// Everything that an execution does is logged once, with the rule that decided.
func TestEachMoveIsLoggedWithItsRule(t *testing.T) {
	d := newDesk(t, func(*v1alpha1.WorkflowExecution) {})
	d.engine.Refusal = &execution.Refusal{Reason: v1alpha1.FailureResourceExhausted, Message: "too many Jobs", Passing: true}
	d.until("it is refused", func(ex *v1alpha1.WorkflowExecution) bool { return ex.Status.Waiting != nil })
	d.engine.Refusal = nil
	d.until("it runs", func(ex *v1alpha1.WorkflowExecution) bool { return ex.Status.Phase == v1alpha1.PhaseRunning })
	d.look() // nothing is new, and nothing is logged
	run := d.run()
	run.State, run.Succeeded, run.Finished = execution.RunFinished, true, time.Now()
	d.until("it is settled", settled)

	var got []string
	for _, line := range d.log {
		if strings.Contains(line, `"target"="team/deployment/api"`) {
			_, line, _ = strings.Cut(line, `"msg"=`)
			got = append(got, strings.Replace(line, ` "target"="team/deployment/api"`, "", 1))
		}
	}
	want := []string{
		`"Execution moves on" "rule"="target-free" "do"="take"`,
		`"Execution moves on" "rule"="not-started" "phase"="Pending"`,
		`"Execution moves on" "rule"="not-started" "do"="start run"`,
		`"Execution moves on" "rule"="still-running" "phase"="Running"`,
		`"Execution has ended" "rule"="run-finished" "phase"="Completed" "reason"="Completed"`,
		`"Execution moves on" "rule"="release" "do"="release"`,
		`"Execution moves on" "rule"="done" "do"="remove finalizer"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("logged:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The last words of a run are told also when it was taken away, without the values of
// its Secrets.
func TestEvidenceOfARunThatIsTakenAway(t *testing.T) {
	login := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.WorkflowNamespace, Name: "login", Labels: map[string]string{v1alpha1.LabelForWorkflows: "true"}},
		Data: map[string][]byte{"password": []byte("correct-horse")}}
	for name, take := range map[string]func(*desk){
		"deleted, and kept by our finalizer": func(d *desk) { d.run().Deleting = true },
		"gone":                               func(d *desk) { d.engine.Vanish(engine.NameFor(d.ex)) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, func(ex *v1alpha1.WorkflowExecution) { ex.Spec.SecretRefs = []string{"login"} }, login.DeepCopy())
			d.engine.words = []string{"login with correct-horse refused"}
			d.until("it runs", func(ex *v1alpha1.WorkflowExecution) bool { return ex.Status.Phase == v1alpha1.PhaseRunning })
			take(d)
			d.until("it has ended", execution.Ended)
			f := d.ex.Status.FailureDetails
			if f == nil || f.Reason != v1alpha1.FailureExternallyDeleted || !slices.Equal(f.Evidence, []string{"login with *** refused"}) {
				t.Errorf("failure %+v, want ExternallyDeleted with its last words", f)
			}
		})
	}
}
