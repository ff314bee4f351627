package tekton

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/execution"
)

// Limits of what is kept of the logs of steps.
const (
	keptBytes = 8 << 10         // of one step
	keptTails = 512             // steps; the oldest that has ended makes room
	patience  = 3 * time.Second // for logs and events that are read at the end
)

// Witness is an Engine that follows the logs of steps while they run: Tekton
// deletes a pod, and its logs with it, when it cancels or times out a run.
type Witness struct {
	*Engine
	core typedcorev1.CoreV1Interface

	mu    sync.Mutex
	ctx   context.Context // of Follow; nil before
	tails []*tail         // the oldest first
	work  sync.WaitGroup
}

var _ engine.Witness = (*Witness)(nil)

// NewWitness returns an engine that follows logs while Follow runs.
func NewWitness(e *Engine, core typedcorev1.CoreV1Interface) *Witness {
	return &Witness{Engine: e, core: core}
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

// tail is the end of the log of one step.
type tail struct {
	run       string
	pod       types.UID
	container string

	mu    sync.Mutex
	lines []string
	size  int
	ended bool
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line = line[:min(len(line), keptBytes)]
	t.lines = append(t.lines, line)
	for t.size += len(line) + 1; t.size > keptBytes && len(t.lines) > 1; {
		t.size -= len(t.lines[0]) + 1
		t.lines = t.lines[1:]
	}
}

func (t *tail) kept() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

func (t *tail) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
}

func (t *tail) hasEnded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended
}

// Observe reports the run, and begins to follow the steps that have begun.
func (w *Witness) Observe(ctx context.Context, ref engine.Ref, how engine.Freshness) (execution.Run, error) {
	run, world, err := w.observe(ctx, ref, how)
	switch {
	case err != nil || !run.Ours:
	case run.State == execution.RunFinished && run.Succeeded:
		w.drop(ref.Name)
	default:
		w.follow(world.Pods, ref.Name)
	}
	return run, err
}

func (w *Witness) follow(pods []corev1.Pod, run string) {
	for i := range pods {
		for _, c := range pods[i].Status.ContainerStatuses {
			begun := c.State.Running != nil || c.State.Terminated != nil
			if begun && c.ImageID != "" && strings.HasPrefix(c.Name, stepPrefix) {
				w.followStep(&pods[i], c.Name, run)
			}
		}
	}
}

// stepPrefix is how Tekton names the containers of steps.
const stepPrefix = "step-"

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

// read adds the lines of a step's log to a tail until it ends.
func (w *Witness) read(ctx context.Context, pod string, t *tail, o *corev1.PodLogOptions) error {
	stream, err := w.core.Pods(v1alpha1.WorkflowNamespace).GetLogs(pod, o).Stream(ctx)
	if err != nil {
		return fmt.Errorf("reading the log of %s/%s: %w", pod, t.container, err)
	}
	defer func() { _ = stream.Close() }() // nothing is lost with a stream that was only read
	lines := bufio.NewReaderSize(stream, keptBytes)
	for {
		line, isPrefix, err := lines.ReadLine()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		t.add(string(line))
		for isPrefix && err == nil { // the rest of a very long line is not kept
			_, isPrefix, err = lines.ReadLine()
		}
	}
}

// Evidence is the last lines of the failed step, then the warnings of its pod.
func (w *Witness) Evidence(ctx context.Context, ref engine.Ref) []string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	run, world, err := w.observe(ctx, ref, engine.Fresh)
	if err != nil {
		return nil
	}
	pod, container := suspect(run, world)
	lines := w.lastLines(ctx, ref.Name, pod, container)
	if pod != nil {
		lines = append(lines, w.warnings(ctx, pod)...)
	}
	return lines
}

// suspect is the pod and container of the failed step, as far as they are there.
func suspect(run execution.Run, world World) (*corev1.Pod, string) {
	failure := execution.Classify(run, nil)
	container := ""
	if failure.Step != "" {
		container = stepPrefix + failure.Step
	}
	for i := range world.Pods {
		if world.Pods[i].Labels["tekton.dev/pipelineTask"] == failure.Task {
			return &world.Pods[i], container
		}
	}
	return nil, container
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
