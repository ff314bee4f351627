// Package tekton carries out runs as Tekton PipelineRuns.
//
// The bundle of a workflow is fetched by Tekton's bundles resolver. Objects are
// created, patched and deleted, never updated whole: Tekton owns their status.
package tekton

import (
	"context"
	"encoding/json"
	"fmt"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/execution"
)

// Name is what a catalog entry calls this engine.
const Name = "tekton"

// Labels that Tekton puts on the parts of a PipelineRun.
const (
	labelPipelineRun = "tekton.dev/pipelineRun"
	labelTaskRun     = "tekton.dev/taskRun"
)

// Annotations of ours on a PipelineRun.
const (
	annotationStopReason = "kubernaut.ai/stop-reason"
	annotationOccupant   = "kubernaut.ai/occupant"
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
	return refused(err, spec)
}

func (e *Engine) adopt(ctx context.Context, ref engine.Ref) error {
	pr, err := e.get(ctx, e.reader, ref.Name)
	if err != nil || pr == nil {
		return err
	}
	if isOurs(pr, ref) {
		return nil
	}
	return &engine.Refused{Refusal: execution.Refusal{
		Reason: v1alpha1.FailureConfigurationError,
		Message: fmt.Sprintf("a PipelineRun named %s/%s exists and belongs to somebody else; it was left alone: delete it and create the execution again",
			pr.Namespace, pr.Name),
	}}
}

func isOurs(pr *pipelinev1.PipelineRun, ref engine.Ref) bool {
	return pr.Labels[v1alpha1.LabelExecutionUID] == string(ref.Execution)
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
	run, _, err := e.observe(ctx, ref, how)
	return run, err
}

func (e *Engine) observe(ctx context.Context, ref engine.Ref, how engine.Freshness) (execution.Run, World, error) {
	if how == engine.Cached {
		pr, err := e.get(ctx, e.client, ref.Name)
		if err != nil {
			return execution.Run{}, World{}, err
		}
		if pr != nil {
			run, world, err := e.report(ctx, engine.Cached, pr, ref)
			if err != nil || run.LostChild == "" {
				return run, world, err // a part that seems lost may only be ahead in one of the caches
			}
		}
	}
	pr, err := e.get(ctx, e.reader, ref.Name)
	if err != nil {
		return execution.Run{}, World{}, err
	}
	return e.report(ctx, engine.Fresh, pr, ref)
}

func (e *Engine) report(ctx context.Context, how engine.Freshness, pr *pipelinev1.PipelineRun, ref engine.Ref) (execution.Run, World, error) {
	from := client.Reader(e.client)
	if how == engine.Fresh {
		from = e.reader
	}
	world := World{Run: pr}
	scope := []client.ListOption{client.InNamespace(v1alpha1.WorkflowNamespace), client.MatchingLabels{labelPipelineRun: ref.Name}}
	taskRuns := &pipelinev1.TaskRunList{}
	if err := from.List(ctx, taskRuns, scope...); err != nil {
		return execution.Run{}, world, fmt.Errorf("listing the TaskRuns of %s: %w", ref.Name, err)
	}
	pods := &corev1.PodList{}
	if err := from.List(ctx, pods, scope...); err != nil {
		return execution.Run{}, world, fmt.Errorf("listing the pods of %s: %w", ref.Name, err)
	}
	world.TaskRuns, world.Pods = taskRuns.Items, pods.Items
	run := Translate(world, ref)
	run.Fresh = bool(how)
	e.parts.follow(&run, world)
	return run, world, nil
}

// Cancel asks Tekton to cancel the run, and notes why on the run itself. Parts
// that go on without it are stopped one by one.
func (e *Engine) Cancel(ctx context.Context, ref engine.Ref, stop execution.Stop) error {
	pr, err := e.get(ctx, e.reader, ref.Name)
	if err != nil {
		return err
	}
	if pr != nil && !isOurs(pr, ref) {
		return fmt.Errorf("cancelling PipelineRun %s: it belongs to somebody else", ref.Name)
	}
	if pr != nil && !pr.IsDone() && pr.DeletionTimestamp == nil {
		return e.cancelRun(ctx, pr, stop)
	}
	return e.cancelParts(ctx, ref)
}

func (e *Engine) cancelRun(ctx context.Context, pr *pipelinev1.PipelineRun, stop execution.Stop) error {
	status := pipelinev1.PipelineRunSpecStatusCancelledRunFinally
	if stop.Mode == v1alpha1.CancelImmediate {
		status = pipelinev1.PipelineRunSpecStatusCancelled
	}
	patch := map[string]any{"spec": map[string]any{"status": status}}
	if pr.Annotations[annotationStopReason] == "" {
		patch["metadata"] = map[string]any{"annotations": map[string]string{annotationStopReason: string(stop.Reason)}}
	}
	return e.patch(ctx, pr, patch)
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
	for _, pod := range orphans(pods.Items, taskRuns.Items) {
		if err := e.client.Delete(ctx, pod, client.Preconditions{UID: &pod.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting pod %s, which no TaskRun owns any more: %w", pod.Name, err)
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
	pr.Annotations[annotationOccupant] = "true"
	pr.Spec = pipelinev1.PipelineRunSpec{
		PipelineRef: &pipelinev1.PipelineRef{Name: v1alpha1.PipelineName},
		Status:      pipelinev1.PipelineRunSpecStatusCancelled,
	}
	err := e.client.Create(ctx, pr)
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return refused(err, spec)
}

// LetGo takes our finalizer off the PipelineRun.
func (e *Engine) LetGo(ctx context.Context, ref engine.Ref) error {
	pr, err := e.get(ctx, e.reader, ref.Name)
	if err != nil || pr == nil || !isOurs(pr, ref) {
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
