// Package witness follows what the containers of runs print while they run: an
// engine may delete a pod, and its logs with it, when it stops a run.
package witness

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/engine/pod"
	"kubernaut.ai/kubernaut/internal/execution"
)

// Limits of what is kept of the logs of steps.
const (
	keptBytes = 8 << 10         // of one step
	keptTails = 512             // steps; the oldest that has ended makes room
	patience  = 3 * time.Second // for logs and events that are read at the end
)

// Subject is an Engine whose runs are carried out by pods.
type Subject interface {
	engine.Engine
	// ObserveWithPods is Observe, and the pods of the run as they were read.
	ObserveWithPods(ctx context.Context, ref engine.Ref, how engine.Freshness) (execution.Run, []corev1.Pod, error)
	// IsStep says whether a container runs code of the workflow.
	IsStep(container string) bool
	// Suspect is the pod and the container of what failed, as far as they are
	// there and known.
	Suspect(run execution.Run, pods []corev1.Pod) (*corev1.Pod, string)
}

// Witness is an Engine that follows the logs of steps while they run.
type Witness struct {
	Subject
	core  typedcorev1.CoreV1Interface
	latch *pod.Latch

	mu    sync.Mutex
	ctx   context.Context // of Follow; nil before
	tails []*tail         // the oldest first
	work  sync.WaitGroup
}

var _ engine.Witness = (*Witness)(nil)

// New returns an engine that follows logs while Follow runs, and knows of started
// code what the latch was shown.
func New(of Subject, core typedcorev1.CoreV1Interface, latch *pod.Latch) *Witness {
	return &Witness{Subject: of, core: core, latch: latch}
}

// LetGo lets the run go, and forgets it.
func (w *Witness) LetGo(ctx context.Context, ref engine.Ref) error {
	err := w.Subject.LetGo(ctx, ref)
	if err == nil {
		w.latch.Forget(ref.Execution)
	}
	return err
}

// Follow lets logs be followed until ctx ends.
func (w *Witness) Follow(ctx context.Context) error {
	w.mu.Lock()
	w.ctx = ctx
	w.mu.Unlock()
	<-ctx.Done()
	w.work.Wait()
	return nil
}

// Observe reports the run, and begins to follow the steps that have begun.
func (w *Witness) Observe(ctx context.Context, ref engine.Ref, how engine.Freshness) (execution.Run, error) {
	run, pods, err := w.ObserveWithPods(ctx, ref, how)
	run.CodeStarted = run.CodeStarted || w.latch.Started(ref.Execution)
	switch {
	case err != nil || !run.Ours:
	case run.State == execution.RunFinished && run.Succeeded:
		w.drop(ref.Name)
	default:
		w.follow(pods, ref.Name)
	}
	return run, err
}

func (w *Witness) follow(pods []corev1.Pod, run string) {
	for i := range pods {
		for _, c := range pods[i].Status.ContainerStatuses {
			begun := c.State.Running != nil || c.State.Terminated != nil
			if begun && c.ImageID != "" && w.IsStep(c.Name) {
				w.followStep(&pods[i], c.Name, run)
			}
		}
	}
}

func (w *Witness) followStep(pod *corev1.Pod, container, run string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx == nil || w.ctx.Err() != nil {
		return
	}
	for _, t := range w.tails {
		if t.pod == pod.UID && t.container == container {
			return
		}
	}
	t := &tail{run: run, pod: pod.UID, container: container}
	w.tails = append(w.makeRoom(), t)
	ctx, name := w.ctx, pod.Name
	w.work.Go(func() {
		defer t.end()
		if err := w.read(ctx, name, t, &corev1.PodLogOptions{Container: container, Follow: true}); err != nil && ctx.Err() == nil {
			t.add("(the log ends here: " + err.Error() + ")")
		}
	})
}

// makeRoom forgets the oldest tails that have ended. The caller holds the lock.
func (w *Witness) makeRoom() []*tail {
	for over := len(w.tails) - keptTails + 1; over > 0; over-- {
		i := slices.IndexFunc(w.tails, (*tail).hasEnded)
		if i < 0 {
			break
		}
		w.tails = slices.Delete(w.tails, i, i+1)
	}
	return w.tails
}

func (w *Witness) drop(run string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tails = slices.DeleteFunc(w.tails, func(t *tail) bool { return t.run == run && t.hasEnded() })
}

// Evidence is the last lines of the failed step, then the warnings of its pod.
func (w *Witness) Evidence(ctx context.Context, ref engine.Ref) []string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	run, pods, err := w.ObserveWithPods(ctx, ref, engine.Fresh)
	if err != nil {
		return nil
	}
	pod, container := w.Suspect(run, pods)
	lines := w.lastLines(ctx, ref.Name, pod, container)
	if pod != nil {
		lines = append(lines, w.warnings(ctx, pod)...)
	}
	return lines
}

// lastLines are those that were followed; else, what the pod still has.
func (w *Witness) lastLines(ctx context.Context, run string, pod *corev1.Pod, container string) []string {
	if t := w.followed(run, container); t != nil {
		return t.kept()
	}
	if pod == nil || container == "" {
		return nil
	}
	limit := int64(keptBytes)
	lines := int64(50)
	t := &tail{container: container}
	if err := w.read(ctx, pod.Name, t, &corev1.PodLogOptions{Container: container, LimitBytes: &limit, TailLines: &lines}); err != nil {
		return nil
	}
	return t.kept()
}

// followed is the tail of a step of a run; without a name, the one that was begun
// last.
func (w *Witness) followed(run, container string) *tail {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range slices.Backward(w.tails) {
		if t.run == run && (container == "" || t.container == container) {
			return t
		}
	}
	return nil
}

func (w *Witness) warnings(ctx context.Context, pod *corev1.Pod) []string {
	list, err := w.core.Events(v1alpha1.WorkflowNamespace).List(ctx, metav1.ListOptions{
		FieldSelector: "type=Warning,involvedObject.uid=" + string(pod.UID), Limit: 20,
	})
	if err != nil {
		return nil
	}
	var lines []string
	for _, e := range list.Items {
		lines = append(lines, fmt.Sprintf("event %s: %s", e.Reason, e.Message))
	}
	return lines
}
