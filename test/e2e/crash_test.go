package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// controllers are the pods of the controller.
func (w *world) controllers() []corev1.Pod {
	w.Helper()
	var pods corev1.PodList
	err := w.Client.List(w.ctx, &pods, client.InNamespace(v1alpha1.SystemNamespace), client.MatchingLabels{"app.kubernetes.io/component": "controller"})
	if err != nil {
		w.Fatalf("listing the controller's pods: %v", err)
	}
	return pods.Items
}

// killController ends every process of some pods of the controller, of one at least,
// with SIGKILL, and says how many there were.
func (w *world) killController(random *rand.Rand) (killed int) {
	w.Helper()
	running := slices.DeleteFunc(w.controllers(), func(p corev1.Pod) bool { return len(processesOf(p.Name)) == 0 })
	if len(running) == 0 {
		return 0
	}
	random.Shuffle(len(running), func(i, j int) { running[i], running[j] = running[j], running[i] })
	for _, pod := range running[:1+random.IntN(len(running))] {
		for _, pid := range processesOf(pod.Name) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err == nil {
				killed++
			}
		}
	}
	return killed
}

// processesOf are the processes on this machine that run in a pod: they know its
// name by their environment.
func processesOf(pod string) []int {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var all []int
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil || !slices.ContainsFunc(bytes.Split(raw, []byte{0}), func(v []byte) bool { return string(v) == "POD_NAME="+pod }) {
			continue // it has ended, or is another's
		}
		var pid int
		if _, err := fmt.Sscanf(file, "/proc/%d/environ", &pid); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// backUp waits until all replicas of the controller are ready again. One that Kubernetes
// would start only after a while, because it has ended so often, is replaced.
func (w *world) backUp(replicas int) {
	w.Helper()
	w.eventually(fmt.Sprintf("%d replicas of the controller are ready again", replicas), func() error {
		ready := 0
		for _, pod := range w.controllers() {
			for _, c := range pod.Status.ContainerStatuses {
				if c.Ready && len(processesOf(pod.Name)) > 0 {
					ready++
				}
				if c.State.Waiting != nil && c.State.Waiting.Reason == "CrashLoopBackOff" {
					if err := client.IgnoreNotFound(w.Client.Delete(w.ctx, &pod, client.GracePeriodSeconds(0))); err != nil {
						return err
					}
				}
			}
		}
		if ready < replicas {
			return fmt.Errorf("%d are", ready)
		}
		return nil
	})
}

// replicas runs so many controllers for the length of a spec.
func (w *world) replicas(n int32) {
	w.Helper()
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		after := *w
		after.ctx = ctx // that of the spec may be over
		after.scaleController(1)
	})
	w.scaleController(n)
}

func (w *world) scaleController(replicas int32) {
	w.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "kubernaut-controller"}}
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	if err := w.Client.Patch(w.ctx, d, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		w.Fatalf("scaling the controller: %v", err)
	}
	until(w, d, &appsv1.DeploymentList{}, func(d *appsv1.Deployment) bool {
		return d.Status.ObservedGeneration >= d.Generation && d.Status.Replicas == replicas && d.Status.AvailableReplicas == replicas
	})
}

// load is how many executions compete for how many targets while the controller is
// killed again and again.
type load struct {
	executions, targets, kills int
	replicas                   int
	bound                      time.Duration // of the whole spec
}

// TestAKilledControllerLosesAndDoublesNothing kills the controller at random moments
// while executions of two workflows compete for their targets. What the API server
// has written down and what stands in the audit trail has to be exactly what
// happened.
func TestAKilledControllerLosesAndDoublesNothing(t *testing.T) {
	w := spec(t)
	w.killUnderLoad(load{executions: 15, targets: 8, kills: 3, replicas: 1, bound: 2 * patience})
}

// TestKilledReplicasLoseAndDoubleNothing is the same with more of everything, and a
// second replica that takes over.
func TestKilledReplicasLoseAndDoubleNothing(t *testing.T) {
	onlyFull(t)
	w := spec(t)
	w.replicas(2)
	w.killUnderLoad(load{executions: 100, targets: 10, kills: 20, replicas: 2, bound: 15 * patience})
}

func (w *world) killUnderLoad(l load) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), l.bound)
	w.Cleanup(cancel)
	w.ctx = ctx
	seed := uint64(time.Now().UnixNano())
	w.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	began := time.Now()
	all := w.compete(l)
	killed := 0
	for range l.kills {
		<-time.After(time.Duration(random.IntN(4000)) * time.Millisecond) // the moment is what is varied
		n := w.killController(random)
		if n == 0 {
			w.Error("no process of the controller was there to be killed")
		}
		killed += n
		w.backUp(l.replicas)
	}
	for i, e := range all {
		all[i] = w.untilRecorded(e)
	}

	log := w.changes(began)
	for _, e := range all {
		if e.Status.Phase != v1alpha1.PhaseCompleted {
			w.Errorf("%s is %s, want Completed: %+v %+v", e.Name, e.Status.Phase, e.Status.FailureDetails, e.Status.SkipDetails)
			continue
		}
		if got := types(w.trail(e)); got != "created locked started completed" {
			w.Errorf("the trail of %s is %q", e.Name, got)
		}
	}
	w.oneRunEach(all, log)
	w.neverTwoAtATime(all, log)
	w.Logf("%d executions, %d creations of runs in the API server's log, %d processes killed", len(all), len(log.created), killed)
}

// compete asks for executions, each of another workflow than the others on its target,
// so that none is left alone because of one before.
func (w *world) compete(l load) []*v1alpha1.WorkflowExecution {
	w.Helper()
	each := (l.executions + l.targets - 1) / l.targets
	remedies := []string{"nothing", "increase-memory"}
	for len(remedies) < each {
		remedies = append(remedies, w.changed("nothing", bundles+"nothing:1.0.0"))
	}
	var all []*v1alpha1.WorkflowExecution
	for i := range l.executions {
		app, remedy := fmt.Sprintf("app-%d", i/each), remedies[i%each]
		if i%each == 0 {
			w.deployment(app)
		}
		all = append(all, w.execute(remedy, w.target(app), func(e *v1alpha1.WorkflowExecution) {
			e.Spec.OnBusy, e.Spec.MaxWait = v1alpha1.OnBusyWait, &metav1.Duration{Duration: l.bound}
			if remedy == "increase-memory" {
				limit("64Mi")(e)
			}
		}))
	}
	return all
}

// oneRunEach compares the runs that the controller has created with those that the
// executions name: none was created twice, and none beside them. A creation of which
// the answer was lost, with who had asked, may have happened.
func (w *world) oneRunEach(all []*v1alpha1.WorkflowExecution, log changelog) {
	w.Helper()
	times, attempts := map[string]int{}, map[string]int{}
	for _, c := range log.created {
		attempts[c.name]++
		if c.done {
			times[c.name]++
		}
	}
	for _, e := range all {
		ref := e.Status.PipelineRunRef
		if ref == nil {
			continue
		}
		if times[ref.Name] > 1 || attempts[ref.Name] == 0 {
			w.Errorf("the API server has created run %s of %s %d times, want once", ref.Name, e.Name, times[ref.Name])
		}
		delete(times, ref.Name)
	}
	for name := range times {
		if !w.ofAnother(name) {
			w.Errorf("the controller has created run %s, which no execution names", name)
		}
	}
}

// ofAnother says whether a run belongs to an execution of another spec.
func (w *world) ofAnother(name string) bool {
	w.Helper()
	var run tekton.PipelineRun
	err := w.Client.Get(w.ctx, client.ObjectKey{Namespace: v1alpha1.WorkflowNamespace, Name: name}, &run)
	if client.IgnoreNotFound(err) != nil {
		w.Fatal(err)
	}
	namespace, _, _ := strings.Cut(run.Annotations[v1alpha1.AnnotationExecution], "/")
	return err == nil && namespace != w.namespace
}

// neverTwoAtATime looks at the order in which the runs on each target were created,
// its record was given back and taken, and the runs ended.
func (w *world) neverTwoAtATime(all []*v1alpha1.WorkflowExecution, log changelog) {
	w.Helper()
	for _, turn := range log.turns(all) {
		before, next, begins := turn.before, turn.next, log.start(turn.next)
		if turn.writes < 2 {
			w.Errorf("%s was started on %s after %s, and the record was written %d times in between; want that it was given back and taken",
				next.Name, next.Status.Target.Key, before.Name, turn.writes)
		}
		if end := w.run(before).Status.CompletionTime; end == nil || begins.Before(end.Time) {
			w.Errorf("%s was started on %s at %s, and the run of %s ended at %v", next.Name, next.Status.Target.Key, begins, before.Name, end)
		}
	}
}
