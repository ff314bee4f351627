// Package job carries out runs as Kubernetes Jobs of one container, for clusters
// without Tekton and for remedies that are one program.
//
// The image of the workflow is what runs. A Job is stopped by taking its time away:
// with activeDeadlineSeconds 0 it ends for good, and nothing sets it going again.
// Its pod carries our finalizer too, so that how its container ended, and whether
// it ever began, is there to be read when the pod is deleted.
package job

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/engine/pod"
	"kubernaut.ai/kubernaut/internal/execution"
)

// Name is what a catalog entry calls this engine.
const Name = "job"

// What failures, and the lines of a log, are told by: a Job is one task of one
// step.
const (
	Task = "job"
	Step = "main" // also the name of the container
)

// Engine is an engine.Engine over Kubernetes Jobs.
type Engine struct {
	client client.Client // its reads may be stale
	reader client.Reader // its reads go past every cache

	mu    sync.Mutex
	began map[types.UID]types.UID // by Job: the pod in which code has started
}

var _ engine.Engine = (*Engine)(nil)

// New returns an engine that reads through c, and past its cache through fresh.
func New(c client.Client, fresh client.Reader) *Engine {
	return &Engine{client: c, reader: fresh, began: map[types.UID]types.UID{}}
}

// Start creates the Job, or adopts the one that exists.
func (e *Engine) Start(ctx context.Context, spec engine.Spec) error {
	err := e.client.Create(ctx, jobOf(spec))
	if !apierrors.IsAlreadyExists(err) {
		return engine.Refuse(err, "Job", spec.Name)
	}
	job, err := e.get(ctx, e.reader, spec.Name)
	if err != nil || job == nil || spec.Owns(job) {
		return err
	}
	return engine.Stranger("Job", spec.Name)
}

// get reads a Job, or nil when there is none.
func (e *Engine) get(ctx context.Context, from client.Reader, name string) (*batchv1.Job, error) {
	job := &batchv1.Job{}
	key := types.NamespacedName{Namespace: v1alpha1.WorkflowNamespace, Name: name}
	if err := from.Get(ctx, key, job); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("reading Job %s: %w", key, err)
	}
	return job, nil
}

// pods are those of a run, by the execution they carry: those of a Job that is gone
// are among them.
func (e *Engine) pods(ctx context.Context, from client.Reader, ref engine.Ref) ([]corev1.Pod, error) {
	var all corev1.PodList
	scope := client.MatchingLabels{v1alpha1.LabelExecutionUID: string(ref.Execution), labelEngine: Name}
	if err := from.List(ctx, &all, client.InNamespace(v1alpha1.WorkflowNamespace), scope); err != nil {
		return nil, fmt.Errorf("listing the pods of Job %s: %w", ref.Name, err)
	}
	return all.Items, nil
}

// Observe reports the Job and its pod.
func (e *Engine) Observe(ctx context.Context, ref engine.Ref, how engine.Freshness) (execution.Run, error) {
	run, _, err := e.ObserveWithPods(ctx, ref, how)
	return run, err
}

// ObserveWithPods reports the Job, and its pods.
func (e *Engine) ObserveWithPods(ctx context.Context, ref engine.Ref, how engine.Freshness) (execution.Run, []corev1.Pod, error) {
	if how == engine.Cached {
		job, err := e.get(ctx, e.client, ref.Name)
		if err != nil {
			return execution.Run{}, nil, err
		}
		if job != nil {
			run, pods, err := e.report(ctx, job, ref, how)
			if err != nil || run.LostChild == "" {
				return run, pods, err // a pod that seems lost may only be ahead in one of the caches
			}
		}
	}
	job, err := e.get(ctx, e.reader, ref.Name)
	if err != nil {
		return execution.Run{}, nil, err
	}
	return e.report(ctx, job, ref, engine.Fresh)
}

func (e *Engine) report(ctx context.Context, job *batchv1.Job, ref engine.Ref, how engine.Freshness) (execution.Run, []corev1.Pod, error) {
	from := client.Reader(e.client)
	if how == engine.Fresh {
		from = e.reader
	}
	pods, err := e.pods(ctx, from, ref)
	if err != nil {
		return execution.Run{}, nil, err
	}
	run := Translate(World{Job: job, Pods: pods, Fresh: bool(how)}, ref)
	run.Fresh = bool(how)
	e.follow(&run, pods)
	if run.State == execution.RunActive && run.Hold == nil && run.Stopping == "" && job != nil {
		if run.Hold, err = e.warned(ctx, job, pods); err != nil {
			return execution.Run{}, nil, err
		}
	}
	return run, pods, nil
}

// warned is what a run waits for where only the events of the cluster say so: a pod
// that cannot be created, a volume that cannot be mounted.
func (e *Engine) warned(ctx context.Context, job *batchv1.Job, pods []corev1.Pod) (*execution.Hold, error) {
	var about client.Object
	switch {
	case len(pods) == 0 && job.Status.StartTime != nil:
		about = job
	case len(pods) > 0 && pods[0].Status.Phase == corev1.PodPending && pods[0].Spec.NodeName != "" && !pod.Started(&pods[0]):
		about = &pods[0]
	default:
		return nil, nil
	}
	warnings, err := pod.Warnings(ctx, e.client, about)
	if err != nil {
		return nil, err
	}
	return pod.HoldOf(warnings), nil
}

// follow notices when a pod in which code had started is replaced by another. A
// restart forgets it; then what the execution's status has latched tells.
func (e *Engine) follow(run *execution.Run, pods []corev1.Pod) {
	if run.State != execution.RunActive || !run.Ours {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	before, known := e.began[run.UID]
	there := false
	for i := range pods {
		there = there || pods[i].UID == before
		if !known && pod.Started(&pods[i]) {
			e.began[run.UID] = pods[i].UID
		}
	}
	if known && !there && run.Stopping == "" && run.LostChild == "" {
		run.LostChild, run.LostReason, run.CodeStarted = "the pod of Job "+run.Name, v1alpha1.FailureExternallyDeleted, true
	}
}

// IsStep says whether a container runs code of the workflow.
func (e *Engine) IsStep(container string) bool { return container == Step }

// Suspect is the pod of the run; which container is no question.
func (e *Engine) Suspect(_ execution.Run, pods []corev1.Pod) (*corev1.Pod, string) {
	if len(pods) == 0 {
		return nil, Step
	}
	return &pods[len(pods)-1], Step
}

// killGrace is how long a container has to end that is stopped at once. The pod
// stays until the kubelet says that it has ended.
const killGrace = client.GracePeriodSeconds(1)

// Cancel takes the Job's time away. Graceful leaves its container the time that
// its pod gives it; Immediate kills it.
func (e *Engine) Cancel(ctx context.Context, ref engine.Ref, stop execution.Stop) error {
	job, err := e.get(ctx, e.reader, ref.Name)
	if err != nil {
		return err
	}
	if job != nil && !ref.Owns(job) {
		return fmt.Errorf("cancelling Job %s: it belongs to somebody else", ref.Name)
	}
	if _, ended := Ended(job); job != nil && !ended && job.DeletionTimestamp == nil {
		return e.cancelJob(ctx, job, stop)
	}
	return e.kill(ctx, ref)
}

// cancelJob notes why, and takes the time away. The pod is killed before that when
// nobody wants to wait for it: the Job would leave it its whole grace.
func (e *Engine) cancelJob(ctx context.Context, job *batchv1.Job, stop execution.Stop) error {
	if job.Annotations[engine.AnnotationStopMode] == string(v1alpha1.CancelImmediate) {
		stop.Mode = v1alpha1.CancelImmediate // what was begun that way is finished that way
	}
	notes := map[string]string{engine.AnnotationStopMode: string(stop.Mode)}
	if job.Annotations[engine.AnnotationStopReason] == "" {
		notes[engine.AnnotationStopReason] = string(stop.Reason)
	}
	metadata := map[string]any{"annotations": notes}
	if stop.Mode != v1alpha1.CancelImmediate {
		metadata["resourceVersion"] = job.ResourceVersion // nobody has asked for more since it was read
	}
	if err := e.patch(ctx, job, map[string]any{"metadata": metadata}); err != nil {
		return err
	}
	if stop.Mode == v1alpha1.CancelImmediate {
		if err := e.kill(ctx, engine.Ref{Name: job.Name, Execution: types.UID(job.Labels[v1alpha1.LabelExecutionUID])}); err != nil {
			return err
		}
	}
	return e.patch(ctx, job, map[string]any{"spec": map[string]any{"activeDeadlineSeconds": 0}})
}

// kill ends what is alive of a run.
func (e *Engine) kill(ctx context.Context, ref engine.Ref) error {
	pods, err := e.pods(ctx, e.reader, ref)
	if err != nil {
		return err
	}
	for i := range pods {
		p := &pods[i]
		asked := p.DeletionGracePeriodSeconds
		if !pod.Alive(p) || asked != nil && *asked <= int64(killGrace) {
			continue
		}
		if err := e.client.Delete(ctx, p, killGrace, client.Preconditions{UID: &p.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("killing pod %s of Job %s: %w", p.Name, ref.Name, err)
		}
	}
	return nil
}

func (e *Engine) patch(ctx context.Context, obj client.Object, patch any) error {
	raw, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	if err := e.client.Patch(ctx, obj, client.RawPatch(types.MergePatchType, raw)); err != nil {
		return fmt.Errorf("patching %s: %w", obj.GetName(), err)
	}
	return nil
}

// Occupy creates a Job that has no time to begin.
func (e *Engine) Occupy(ctx context.Context, spec engine.Spec) error {
	err := e.client.Create(ctx, occupant(spec))
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return engine.Refuse(err, "Job", spec.Name)
}

// LetGo takes our finalizers off the pods of the Job, then off the Job.
func (e *Engine) LetGo(ctx context.Context, ref engine.Ref) error {
	if err := e.letPodsGo(ctx, ref, func(*corev1.Pod) bool { return true }); err != nil {
		return err
	}
	job, err := e.get(ctx, e.reader, ref.Name)
	if err != nil || job == nil || !ref.Owns(job) {
		return err
	}
	e.mu.Lock()
	delete(e.began, job.UID)
	e.mu.Unlock()
	return e.letGo(ctx, job)
}

// Tidy lets the pods go that somebody has deleted, when nothing is owed for the run
// any more.
func (e *Engine) Tidy(ctx context.Context, ref engine.Ref) error {
	return e.letPodsGo(ctx, ref, func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

func (e *Engine) letPodsGo(ctx context.Context, ref engine.Ref, which func(*corev1.Pod) bool) error {
	pods, err := e.pods(ctx, e.reader, ref)
	if err != nil {
		return err
	}
	for i := range pods {
		if which(&pods[i]) {
			if err := e.letGo(ctx, &pods[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Engine) letGo(ctx context.Context, obj client.Object) error {
	before := obj.DeepCopyObject().(client.Object)
	if !controllerutil.RemoveFinalizer(obj, v1alpha1.RunFinalizer) {
		return nil
	}
	guard := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := e.client.Patch(ctx, obj, guard); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("letting %s go: %w", obj.GetName(), err)
	}
	return nil
}

// Ended is when a Job ended, if it has.
func Ended(job *batchv1.Job) (at time.Time, ended bool) {
	if c := endOf(job); c != nil {
		return c.LastTransitionTime.Time, true
	}
	return time.Time{}, false
}
