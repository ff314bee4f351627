package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ktypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/engine/enginetest"
	"kubernaut.ai/kubernaut/internal/engine/job"
	"kubernaut.ai/kubernaut/internal/engine/tekton"
)

// tell writes on a target with which code the run that waits for it shall exit.
func (w *world) tell(name string, code int) {
	w.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	patch := `{"metadata":{"annotations":{"spec/exit":"` + strconv.Itoa(code) + `"}}}`
	if err := w.Client.Patch(w.ctx, d, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		w.Fatal(err)
	}
}

func TestARemedyThatIsAJob(t *testing.T) {
	w := spec(t)
	e, pod := w.working("job-obeys")
	if pod.Spec.Containers[0].SecurityContext == nil || pod.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("the pod is not restricted: %+v", pod.Spec)
	}
	w.tell("app", 0)
	e = w.untilRecorded(e)
	if e.Status.Phase != v1alpha1.PhaseCompleted || e.Status.Workflow.Engine != job.Name || !strings.HasPrefix(e.Status.Workflow.Digest, "sha256:") {
		t.Fatalf("phase %s, workflow %+v, failure %+v", e.Status.Phase, e.Status.Workflow, e.Status.FailureDetails)
	}
	if got := types(w.trail(e)); got != "created locked started completed" {
		t.Errorf("the trail is %q", got)
	}
	lines, err := w.Core.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(w.ctx)
	if err != nil || !strings.Contains(string(lines), "a $(default) of 5$\n") {
		t.Errorf("the default of a parameter did not arrive as it is: %q, %v", lines, err)
	}
}

func TestAJobThatFailsIsToldPreciselyAndKeepsItsSecret(t *testing.T) {
	const secret = "correct-horse-battery"
	w := spec(t)
	w.deployment("app")
	w.tell("app", 3)
	e := w.fails(w.execute("job-obeys", w.target("app"), password(secret)),
		told{v1alpha1.FailureTaskFailed, job.Task, job.Step, 3, true, "", "login with *** refused"})
	all, err := json.Marshal([]any{e.Status, w.trail(e)})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(all), secret) {
		t.Error("the secret parameter's value stands in status or trail")
	}
}

func TestCancellingAJob(t *testing.T) {
	for _, mode := range []v1alpha1.CancelMode{v1alpha1.CancelImmediate, v1alpha1.CancelGraceful} {
		t.Run(string(mode), func(t *testing.T) {
			if mode == v1alpha1.CancelGraceful {
				onlyFull(t)
			}
			w := spec(t)
			e, _ := w.working("job-obeys")
			w.cancel(e, mode)
			e = w.untilRecorded(e)
			if e.Status.Phase != v1alpha1.PhaseCancelled || !e.Status.UserCodeStarted {
				t.Errorf("phase %s: %+v", e.Status.Phase, e.Status.FailureDetails)
			}
		})
	}
}

// TestEnginesOnTheCluster runs the contract of engines on real Tekton and on the
// real controller of Jobs.
func TestEnginesOnTheCluster(t *testing.T) {
	onlyFull(t)
	for _, c := range []struct {
		name, workflow string
		engine         func(client.Client) engine.Engine
		run            func(engine.Ref) client.Object
	}{
		{"Tekton", "obeys", func(c client.Client) engine.Engine { return tekton.New(c, c) },
			func(ref engine.Ref) client.Object { return &pipelinev1.PipelineRun{ObjectMeta: named(ref)} }},
		{"Job", "job-obeys", func(c client.Client) engine.Engine { return job.New(c, c) },
			func(ref engine.Ref) client.Object { return &batchv1.Job{ObjectMeta: named(ref)} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := spec(t)
			w.working("lasts")
			s := &stage{world: w, engine: c.engine(w.Client), run: c.run, image: w.imageOf(c.workflow), executions: map[ktypes.UID]string{}}
			enginetest.Run(t, enginetest.Stage{Engine: s.engine, Ref: s.ref, Spec: s.spec, Play: s.play, Until: s.until})
		})
	}
}

func named(ref engine.Ref) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: v1alpha1.WorkflowNamespace, Name: ref.Name}
}

// stage is the cluster as a world in which an engine acts.
type stage struct {
	*world
	engine engine.Engine
	run    func(engine.Ref) client.Object
	image  string
	// executions are the names of those whose runs are played.
	executions map[ktypes.UID]string
}

func (w *world) imageOf(workflow string) string {
	w.Helper()
	storage, err := w.DataStorage(w.ctx)
	if err != nil {
		w.Fatal(err)
	}
	entry, err := storage.WorkflowVersion(w.ctx, workflow, "1.0.0")
	if err != nil {
		w.Fatal(err)
	}
	name, _, _ := strings.Cut(entry.ContainerImage, "@")
	return name[:strings.LastIndexByte(name, ':')] + "@" + entry.ContainerDigest
}

// ref is that of an execution that waits for its target all the while: the
// installation's own controller keeps its hands off a run that is still owed.
func (s *stage) ref(t *testing.T) engine.Ref {
	t.Helper()
	e := s.execute("lasts", s.target("app"), func(e *v1alpha1.WorkflowExecution) {
		e.Spec.OnBusy, e.Spec.MaxWait = v1alpha1.OnBusyWait, &metav1.Duration{Duration: time.Hour}
	})
	s.executions[e.UID] = e.Name
	return engine.Ref{Name: "play-" + string(e.UID)[:8], Execution: e.UID}
}

func (s *stage) spec(ref engine.Ref) engine.Spec {
	s.looksAt(ref)
	return engine.Spec{
		Ref: ref, ExecutionName: s.namespace + "/" + s.executions[ref.Execution], WorkflowID: "obeys", Version: "1.0.0",
		Target: s.namespace + "/deployment.apps/" + ref.Name, Record: "spec-0123456789abcdef", CorrelationID: ref.Name, FencingToken: 1,
		Image: s.image, ServiceAccount: v1alpha1.DefaultServiceAccount, PullSecret: v1alpha1.DefaultPullSecret, Timeout: 15 * time.Second,
	}
}

// looksAt makes what the run looks at.
func (s *stage) looksAt(ref engine.Ref) {
	s.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: ref.Name}}
	if err := s.Client.Get(s.ctx, client.ObjectKeyFromObject(d), d); apierrors.IsNotFound(err) {
		s.deployment(ref.Name)
	}
}

func (s *stage) until(t *testing.T, what string, ok func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(s.ctx, interval, patience, true, func(context.Context) (bool, error) {
		last = ok()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: still after %s: %v", what, patience, last)
	}
}

// play makes something happen to a run, and waits until it has.
func (s *stage) play(t *testing.T, ref engine.Ref, e enginetest.Event) {
	t.Helper()
	run := s.run(ref)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", e, err)
		}
	}
	switch e {
	case enginetest.Begins:
		s.sees(t, ref, e, func() bool { return len(s.pods(ref)) == 1 && begun(&s.pods(ref)[0]) })
	case enginetest.Succeeds:
		s.tell(ref.Name, 0)
	case enginetest.Fails:
		s.tell(ref.Name, enginetest.FailsWith)
	case enginetest.IsTaken:
		s.takeName(ref)
	case enginetest.IsDeleted:
		must(s.Client.Delete(s.ctx, run, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	case enginetest.IsRemoved: // its parts lose their owner first, or the garbage collector would take them along
		for _, p := range s.pods(ref) {
			must(s.Client.Patch(s.ctx, &p, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"ownerReferences":null}}`))))
		}
		must(s.Client.Patch(s.ctx, run, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))))
		must(client.IgnoreNotFound(s.Client.Delete(s.ctx, run, client.PropagationPolicy(metav1.DeletePropagationOrphan))))
	case enginetest.LosesItsPod:
		pod := s.pods(ref)[0]
		must(s.Client.Delete(s.ctx, &pod))
	case enginetest.TimesOut, enginetest.Stops: // by itself
	}
}

func begun(p *corev1.Pod) bool {
	for _, c := range p.Status.ContainerStatuses {
		if c.ImageID != "" && c.State.Running != nil {
			return true
		}
	}
	return false
}

func (s *stage) sees(t *testing.T, ref engine.Ref, e enginetest.Event, ok func() bool) {
	t.Helper()
	s.until(t, ref.Name+" "+string(e), func() error {
		if !ok() {
			return errors.New("not yet")
		}
		return nil
	})
}

func (s *stage) pods(ref engine.Ref) []corev1.Pod {
	s.Helper()
	var pods corev1.PodList
	if err := s.Client.List(s.ctx, &pods, client.InNamespace(v1alpha1.WorkflowNamespace), client.MatchingLabels{v1alpha1.LabelExecutionUID: string(ref.Execution)}); err != nil {
		s.Fatal(err)
	}
	return pods.Items
}

// takeName makes a run of that name that belongs to somebody else.
func (s *stage) takeName(ref engine.Ref) {
	s.Helper()
	other := ref
	other.Execution = "somebody-else"
	if err := s.engine.Start(s.ctx, s.spec(other)); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = s.engine.LetGo(s.ctx, other) })
}
