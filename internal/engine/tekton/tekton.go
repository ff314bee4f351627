// Package tekton carries out runs as Tekton PipelineRuns.
//
// The bundle of a workflow is fetched by Tekton's bundles resolver. Objects are
// created, patched and deleted, never updated whole: Tekton owns their status.
package tekton

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
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
const Name = "tekton"

// Labels that Tekton puts on the parts of a PipelineRun.
const (
	labelPipelineRun  = "tekton.dev/pipelineRun"
	labelPipelineTask = "tekton.dev/pipelineTask"
	labelTaskRun      = "tekton.dev/taskRun"
)

// Engine is an engine.Engine over Tekton.
type Engine struct {
	client client.Client // its reads may be stale
	reader client.Reader // its reads go past every cache
	parts  *parts
}

var _ engine.Engine = (*Engine)(nil)

// New returns an engine that reads through c, and past its cache through fresh.
func New(c client.Client, fresh client.Reader) *Engine {
	return &Engine{client: c, reader: fresh, parts: newParts()}
}

// Start creates the PipelineRun, or adopts the one that exists.
func (e *Engine) Start(ctx context.Context, spec engine.Spec) error {
	err := e.client.Create(ctx, pipelineRun(spec))
	if apierrors.IsAlreadyExists(err) {
		return e.adopt(ctx, spec.Ref)
	}
	return engine.Refuse(err, "PipelineRun", spec.Name)
}

func (e *Engine) adopt(ctx context.Context, ref engine.Ref) error {
	pr, err := e.get(ctx, e.reader, ref.Name)
	if err != nil || pr == nil {
		return err
	}
	if ref.Owns(pr) {
		return nil
	}
	return engine.Stranger("PipelineRun", pr.Name)
}

// get reads a PipelineRun, or nil when there is none.
func (e *Engine) get(ctx context.Context, from client.Reader, name string) (*pipelinev1.PipelineRun, error) {
	pr := &pipelinev1.PipelineRun{}
	key := types.NamespacedName{Namespace: v1alpha1.WorkflowNamespace, Name: name}
	if err := from.Get(ctx, key, pr); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("reading PipelineRun %s: %w", key, err)
	}
	return pr, nil
}

// Observe reports the PipelineRun and its parts.
func (e *Engine) Observe(ctx context.Context, ref engine.Ref, how engine.Freshness) (execution.Run, error) {
	run, _, err := e.ObserveWithPods(ctx, ref, how)
	return run, err
}

// ObserveWithPods reports the PipelineRun, its parts, and their pods.
func (e *Engine) ObserveWithPods(ctx context.Context, ref engine.Ref, how engine.Freshness) (execution.Run, []corev1.Pod, error) {
	if how == engine.Cached {
		pr, err := e.get(ctx, e.client, ref.Name)
		if err != nil {
			return execution.Run{}, nil, err
		}
		if pr != nil {
			run, pods, err := e.report(ctx, engine.Cached, pr, ref)
			if err != nil || run.LostChild == "" {
				return run, pods, err // a part that seems lost may only be ahead in one of the caches
			}
		}
	}
	pr, err := e.get(ctx, e.reader, ref.Name)
	if err != nil {
		return execution.Run{}, nil, err
	}
	return e.report(ctx, engine.Fresh, pr, ref)
}

// IsStep says whether a container is that of a step.
func (e *Engine) IsStep(container string) bool { return strings.HasPrefix(container, stepPrefix) }

// stepPrefix is how Tekton names the containers of steps.
const stepPrefix = "step-"

// Suspect is the pod and container of the failed step, as far as they are there.
func (e *Engine) Suspect(run execution.Run, pods []corev1.Pod) (*corev1.Pod, string) {
	failure := execution.Classify(run, nil)
	container := ""
	if failure.Step != "" {
		container = stepPrefix + failure.Step
	}
	for i := range pods {
		if pods[i].Labels[labelPipelineTask] == failure.Task {
			return &pods[i], container
		}
	}
	return nil, container
}

// Ended is when a PipelineRun ended, if it has.
func Ended(pr *pipelinev1.PipelineRun) (at time.Time, ended bool) {
	if pr.Status.CompletionTime != nil {
		at = pr.Status.CompletionTime.Time
	}
	return at, pr.IsDone()
}

func (e *Engine) report(ctx context.Context, how engine.Freshness, pr *pipelinev1.PipelineRun, ref engine.Ref) (execution.Run, []corev1.Pod, error) {
	from := client.Reader(e.client)
	if how == engine.Fresh {
		from = e.reader
	}
	world := World{Run: pr}
	scope := []client.ListOption{client.InNamespace(v1alpha1.WorkflowNamespace), client.MatchingLabels{labelPipelineRun: ref.Name}}
	taskRuns := &pipelinev1.TaskRunList{}
	if err := from.List(ctx, taskRuns, scope...); err != nil {
		return execution.Run{}, nil, fmt.Errorf("listing the TaskRuns of %s: %w", ref.Name, err)
	}
	pods := &corev1.PodList{}
	if err := from.List(ctx, pods, scope...); err != nil {
		return execution.Run{}, nil, fmt.Errorf("listing the pods of %s: %w", ref.Name, err)
	}
	world.TaskRuns, world.Pods = taskRuns.Items, pods.Items
	run := Translate(world, ref)
	run.Fresh = bool(how)
	e.parts.follow(&run, world)
	if run.State == execution.RunActive && run.Hold == nil {
		hold, err := e.warned(ctx, world.Pods)
		if err != nil {
			return execution.Run{}, nil, err
		}
		run.Hold = hold
	}
	return run, world.Pods, nil
}

// warned is what a pod that does not come up waits for, where only the events of
// the cluster say so: a volume that cannot be mounted.
func (e *Engine) warned(ctx context.Context, pods []corev1.Pod) (*execution.Hold, error) {
	for i := range pods {
		if pods[i].Status.Phase != corev1.PodPending || pods[i].Spec.NodeName == "" || pod.Started(&pods[i]) {
			continue
		}
		warnings, err := pod.Warnings(ctx, e.client, &pods[i])
		if err != nil {
			return nil, err
		}
		if hold := pod.HoldOf(warnings); hold != nil {
			return hold, nil
		}
	}
	return nil, nil
}

// Cancel asks Tekton to cancel the run, and notes why on the run itself. Parts
// that go on without it are stopped one by one.
func (e *Engine) Cancel(ctx context.Context, ref engine.Ref, stop execution.Stop) error {
	pr, err := e.get(ctx, e.reader, ref.Name)
	if err != nil {
		return err
	}
	if pr != nil && !ref.Owns(pr) {
		return fmt.Errorf("cancelling PipelineRun %s: it belongs to somebody else", ref.Name)
	}
	if pr != nil && !pr.IsDone() && pr.DeletionTimestamp == nil {
		return e.cancelRun(ctx, pr, stop)
	}
	return e.cancelParts(ctx, ref)
}

// cancelRun asks a run to stop, and leaves it alone when it is asked for more already,
// or by somebody else just now.
func (e *Engine) cancelRun(ctx context.Context, pr *pipelinev1.PipelineRun, stop execution.Stop) error {
	status, metadata := pipelinev1.PipelineRunSpecStatusCancelled, map[string]any{}
	if stop.Mode != v1alpha1.CancelImmediate {
		if stopping(pr.Spec.Status) == v1alpha1.CancelImmediate {
			return nil
		}
		status = pipelinev1.PipelineRunSpecStatusCancelledRunFinally
		metadata["resourceVersion"] = pr.ResourceVersion
	}
	if pr.Annotations[engine.AnnotationStopReason] == "" {
		metadata["annotations"] = map[string]string{engine.AnnotationStopReason: string(stop.Reason)}
	}
	return e.patch(ctx, pr, map[string]any{"metadata": metadata, "spec": map[string]any{"status": status}})
}

func (e *Engine) cancelParts(ctx context.Context, ref engine.Ref) error {
	scope := []client.ListOption{client.InNamespace(v1alpha1.WorkflowNamespace), client.MatchingLabels{labelPipelineRun: ref.Name}}
	var taskRuns pipelinev1.TaskRunList
	var pods corev1.PodList
	if err := e.reader.List(ctx, &taskRuns, scope...); err != nil {
		return fmt.Errorf("listing the TaskRuns of %s: %w", ref.Name, err)
	}
	if err := e.reader.List(ctx, &pods, scope...); err != nil {
		return fmt.Errorf("listing the pods of %s: %w", ref.Name, err)
	}
	for i := range taskRuns.Items {
		tr := &taskRuns.Items[i]
		if tr.IsDone() || tr.Spec.Status != "" {
			continue
		}
		patch := map[string]any{"spec": map[string]any{"status": pipelinev1.TaskRunSpecStatusCancelled}}
		if err := e.patch(ctx, tr, patch); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	for _, left := range leftovers(pods.Items, taskRuns.Items) {
		if err := e.client.Delete(ctx, left, client.Preconditions{UID: &left.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting pod %s, whose TaskRun is done or gone: %w", left.Name, err)
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

// Occupy creates a PipelineRun that is cancelled before it begins.
func (e *Engine) Occupy(ctx context.Context, spec engine.Spec) error {
	pr := pipelineRun(spec)
	pr.Annotations[engine.AnnotationOccupant] = "true"
	pr.Spec = pipelinev1.PipelineRunSpec{
		PipelineRef: &pipelinev1.PipelineRef{Name: v1alpha1.PipelineName},
		Status:      pipelinev1.PipelineRunSpecStatusCancelled,
	}
	err := e.client.Create(ctx, pr)
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return engine.Refuse(err, "PipelineRun", spec.Name)
}

// LetGo takes our finalizer off the PipelineRun.
func (e *Engine) LetGo(ctx context.Context, ref engine.Ref) error {
	pr, err := e.get(ctx, e.reader, ref.Name)
	if err != nil || pr == nil || !ref.Owns(pr) {
		return err
	}
	before := pr.DeepCopy()
	if !controllerutil.RemoveFinalizer(pr, v1alpha1.RunFinalizer) {
		return nil
	}
	e.parts.forget(pr.UID)
	guard := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := e.client.Patch(ctx, pr, guard); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("letting PipelineRun %s go: %w", ref.Name, err)
	}
	return nil
}
