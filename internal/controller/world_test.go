package controller_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/controller"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/execution"
	"kubernaut.ai/kubernaut/internal/target"
	"kubernaut.ai/kubernaut/test/servers"
)

// patience is how long a condition may take to come true.
const patience = 30 * time.Second

// shared is the API server of all tests of this package.
var shared struct {
	once sync.Once
	kube *servers.Kube
	err  error
}

func TestMain(m *testing.M) {
	logs := slog.DiscardHandler
	if os.Getenv("KUBERNAUT_TEST_LOG") != "" {
		logs = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	log.SetLogger(logr.FromSlogHandler(logs))
	code := m.Run()
	if shared.kube != nil {
		if err := shared.kube.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the API server:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// world is one test's part of the cluster: an API server without Tekton, whose
// part the test plays, and a Data Storage in memory.
type world struct {
	t       *testing.T
	kube    *servers.Kube
	client  client.Client
	storage *storage
	cfg     controller.Config
	ns      string
	target  string
	now     func() time.Time     // of the controllers; nil: the time of day
	metrics *prometheus.Registry // of the controller that was started last
	// tend, when set, is called again and again while something is waited for.
	tend func()
}

var worlds int

func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("needs kube-apiserver: run make test")
	}
	shared.once.Do(func() { shared.kube, shared.err = servers.StartAPIServer() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return newWorldOn(t, shared.kube)
}

// newWorldOn is a test's part of a cluster of its own.
func newWorldOn(t *testing.T, kube *servers.Kube) *world {
	t.Helper()
	c, err := client.New(kube.Config, client.Options{Scheme: controller.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := controller.ParseConfig([]byte("{metricsAddress: \"0\", probeAddress: \"0\", execution: {workers: 4}}"))
	if err != nil {
		t.Fatal(err)
	}
	worlds++
	w := &world{t: t, kube: kube, client: c, storage: newStorage(), cfg: cfg, ns: fmt.Sprintf("team-%d", worlds)}
	w.target = w.ns + "/deployment/api"
	for _, name := range []string{v1alpha1.SystemNamespace, v1alpha1.WorkflowNamespace, w.ns} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := c.Create(t.Context(), ns); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	return w
}

// run starts a controller and returns what stops it and waits for its end.
func (w *world) run(wrap ...func(client.Client) client.Client) (stop func()) {
	w.t.Helper()
	mgr, err := controller.NewManager(w.kube.Config, w.cfg, wrap...)
	w.must(err)
	ctx, cancel := context.WithCancel(w.t.Context())
	w.metrics = prometheus.NewRegistry()
	w.must(controller.Setup(ctx, mgr, w.cfg, controller.Ports{Catalog: w.storage, Audit: w.storage, Now: w.now, Metrics: w.metrics}))
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			w.must(<-ended)
		})
	}
	w.t.Cleanup(stop)
	return stop
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// submit creates an execution of workflow "heal" on the world's target.
func (w *world) submit(name string, edit ...func(*v1alpha1.WorkflowExecution)) *v1alpha1.WorkflowExecution {
	w.t.Helper()
	ex := &v1alpha1.WorkflowExecution{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name},
		Spec: v1alpha1.WorkflowExecutionSpec{
			WorkflowRef:    v1alpha1.WorkflowRef{WorkflowID: "heal", Version: "1.0.0"},
			TargetResource: w.target,
		},
	}
	for _, e := range edit {
		e(ex)
	}
	w.must(w.client.Create(w.t.Context(), ex))
	return ex
}

func waiting(ex *v1alpha1.WorkflowExecution) { ex.Spec.OnBusy = v1alpha1.OnBusyWait }

// eventually waits until ok finds nothing wrong any more.
func (w *world) eventually(what string, ok func() error) {
	w.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if w.tend != nil {
			w.tend()
		}
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			w.t.Fatalf("%s: still after %s: %v", what, patience, err)
		}
	}
}

// get reads an execution anew.
func (w *world) get(ex *v1alpha1.WorkflowExecution) (*v1alpha1.WorkflowExecution, error) {
	now := &v1alpha1.WorkflowExecution{}
	return now, w.client.Get(w.t.Context(), client.ObjectKeyFromObject(ex), now)
}

// await waits until an execution has a phase, and returns it.
func (w *world) await(ex *v1alpha1.WorkflowExecution, phase v1alpha1.Phase) *v1alpha1.WorkflowExecution {
	w.t.Helper()
	var now *v1alpha1.WorkflowExecution
	w.eventually(fmt.Sprintf("%s becomes %s", ex.Name, phase), func() (err error) {
		if now, err = w.get(ex); err != nil {
			return err
		}
		if now.Status.Phase != phase {
			return fmt.Errorf("it is %q, conditions %+v, waiting %+v", now.Status.Phase, now.Status.Conditions, now.Status.Waiting)
		}
		return nil
	})
	return now
}

// settled waits until an execution has ended and owes nothing.
func (w *world) settled(ex *v1alpha1.WorkflowExecution) *v1alpha1.WorkflowExecution {
	w.t.Helper()
	var now *v1alpha1.WorkflowExecution
	w.eventually(ex.Name+" is settled", func() (err error) {
		if now, err = w.get(ex); err != nil {
			return err
		}
		if !execution.Ended(now) || len(now.Finalizers) > 0 {
			return fmt.Errorf("phase %s, finalizers %v, conditions %+v", now.Status.Phase, now.Finalizers, now.Status.Conditions)
		}
		return nil
	})
	return now
}

// record is the record of the world's target.
func (w *world) record() *v1alpha1.RemediationTarget {
	w.t.Helper()
	rt := &v1alpha1.RemediationTarget{}
	key := w.ns + "/deployment.apps/api"
	w.must(w.client.Get(w.t.Context(), types.NamespacedName{Namespace: v1alpha1.SystemNamespace, Name: target.RecordName(key)}, rt))
	return rt
}

// pipelineRun waits for the run of an execution.
func (w *world) pipelineRun(ex *v1alpha1.WorkflowExecution) *pipelinev1.PipelineRun {
	w.t.Helper()
	pr := &pipelinev1.PipelineRun{}
	w.eventually("the run of "+ex.Name+" exists", func() error {
		return w.client.Get(w.t.Context(), types.NamespacedName{Namespace: v1alpha1.WorkflowNamespace, Name: engine.NameFor(ex)}, pr)
	})
	return pr
}

// taskRun plays Tekton: it makes the TaskRun of a run.
func (w *world) taskRun(pr *pipelinev1.PipelineRun) *pipelinev1.TaskRun {
	w.t.Helper()
	yes := true
	tr := &pipelinev1.TaskRun{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pr.Namespace, Name: pr.Name + "-act", Annotations: pr.Annotations,
			Labels: map[string]string{"tekton.dev/pipelineRun": pr.Name, "tekton.dev/pipelineTask": "act"},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "tekton.dev/v1", Kind: "PipelineRun", Name: pr.Name, UID: pr.UID, Controller: &yes, BlockOwnerDeletion: &yes,
			}},
		},
		Spec: pipelinev1.TaskRunSpec{TaskSpec: &pipelinev1.TaskSpec{Steps: []pipelinev1.Step{{Name: "main", Image: "i"}}}},
	}
	for k, v := range pr.Labels {
		tr.Labels[k] = v
	}
	w.must(w.client.Create(w.t.Context(), tr))
	w.runStatus(pr, func(st *pipelinev1.PipelineRunStatus) {
		st.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionUnknown, Reason: "Running", Message: "Tasks Completed: 0"})
		st.PipelineSpec = &pipelinev1.PipelineSpec{Tasks: []pipelinev1.PipelineTask{{Name: "act"}}}
		st.ChildReferences = []pipelinev1.ChildStatusReference{{Name: tr.Name, PipelineTaskName: "act"}}
		st.ChildReferences[0].Kind = "TaskRun"
	})
	return tr
}

// runStatus plays Tekton: it changes the status of a run.
func (w *world) runStatus(pr *pipelinev1.PipelineRun, change func(*pipelinev1.PipelineRunStatus)) {
	w.t.Helper()
	w.must(retry(func() error {
		if err := w.client.Get(w.t.Context(), client.ObjectKeyFromObject(pr), pr); err != nil {
			return err
		}
		change(&pr.Status)
		return w.client.Status().Update(w.t.Context(), pr)
	}))
}

func (w *world) taskStatus(tr *pipelinev1.TaskRun, change func(*pipelinev1.TaskRunStatus)) {
	w.t.Helper()
	w.must(retry(func() error {
		if err := w.client.Get(w.t.Context(), client.ObjectKeyFromObject(tr), tr); err != nil {
			return err
		}
		change(&tr.Status)
		return w.client.Status().Update(w.t.Context(), tr)
	}))
}

func retry(write func() error) error {
	for {
		if err := write(); !apierrors.IsConflict(err) {
			return err
		}
	}
}

// start plays Tekton: the step's container is created.
func (w *world) start(tr *pipelinev1.TaskRun) {
	w.t.Helper()
	w.taskStatus(tr, func(st *pipelinev1.TaskRunStatus) {
		st.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionUnknown, Reason: "Running"})
		st.Steps = []pipelinev1.StepState{{Name: "main", ImageID: "sha256:1", ContainerState: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	})
}

// fail plays Tekton: the step exits with a code.
func (w *world) fail(pr *pipelinev1.PipelineRun, tr *pipelinev1.TaskRun, code int32) {
	w.t.Helper()
	w.taskStatus(tr, func(st *pipelinev1.TaskRunStatus) {
		st.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionFalse, Reason: "StepFailed", Message: fmt.Sprintf("\"step-main\" exited with code %d: Error", code)})
		now := metav1.Now()
		st.CompletionTime = &now
		st.Steps = []pipelinev1.StepState{{Name: "main", ImageID: "sha256:1", TerminationReason: "Error",
			ContainerState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: "Error"}}}}
	})
	w.finish(pr, corev1.ConditionFalse, "Failed", "Tasks Completed: 1 (Failed: 1, Cancelled 0), Skipped: 0")
}

// finish plays Tekton: the run ends.
func (w *world) finish(pr *pipelinev1.PipelineRun, status corev1.ConditionStatus, reason, message string) {
	w.t.Helper()
	w.runStatus(pr, func(st *pipelinev1.PipelineRunStatus) {
		st.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: status, Reason: reason, Message: message})
		now := metav1.Now()
		st.CompletionTime = &now
	})
}

func (w *world) succeed(pr *pipelinev1.PipelineRun) {
	w.t.Helper()
	w.finish(pr, corev1.ConditionTrue, "Succeeded", "Tasks Completed: 1 (Failed: 0, Cancelled 0), Skipped: 0")
}

func runNameOf(ex *v1alpha1.WorkflowExecution) string { return engine.NameFor(ex) }

func failed(reason, message string) *apis.Condition {
	return &apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionFalse, Reason: reason, Message: message}
}
