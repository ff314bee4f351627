package simulation

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/controller"
	"kubernaut.ai/kubernaut/test/servers"
)

// TestModelIsTrue does the same to the model and to a real API server, and
// compares every answer and what is there afterwards. Schemas, rules of CEL and
// the deletion of pods are not compared.
func TestModelIsTrue(t *testing.T) {
	real, err := client.New(servers.APIServer(t), client.Options{Scheme: controller.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: users}}
	if err := real.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	checks("100", "1000")
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		p := &pair{t: rt, ctx: t, real: real, model: newServer(controller.Scheme(), time.Now), round: round}
		for range rapid.IntRange(1, 15).Draw(rt, "operations") {
			p.operate()
		}
	})
}

// pair is the model and the real server, to which the same is done.
type pair struct {
	t     *rapid.T
	ctx   *testing.T
	real  client.Client
	model *server
	round int
	known []copies // every state that was read so far: also old ones can be written
}

// copies are one object as both sides gave it at the same time.
type copies struct{ real, model client.Object }

func (p *pair) pick(n int, what string) int { return rapid.IntRange(0, n-1).Draw(p.t, what) }

func (p *pair) operate() {
	if len(p.known) == 0 || p.pick(4, "new") == 0 {
		p.create()
		return
	}
	c := p.known[p.pick(len(p.known), "copy")]
	c = copies{c.real.DeepCopyObject().(client.Object), c.model.DeepCopyObject().(client.Object)}
	switch p.pick(5, "operation") {
	case 0:
		p.change(c, body)
		p.same("update", c, p.real.Update(p.ctx.Context(), c.real), p.model.update(c.model, body))
	case 1:
		p.change(c, status)
		p.same("update the status", c, p.real.Status().Update(p.ctx.Context(), c.real), p.model.update(c.model, status))
	case 2:
		p.patch(c, body)
	case 3:
		p.patch(c, status)
	case 4:
		p.remove(c)
	}
}

func (p *pair) create() {
	name := fmt.Sprintf("round-%d-%d", p.round, p.pick(2, "name"))
	obj := []client.Object{
		&v1alpha1.RemediationTarget{Spec: v1alpha1.RemediationTargetSpec{Target: "team/deployment.apps/web"}},
		&pipelinev1.PipelineRun{},
		&v1alpha1.WorkflowExecution{Spec: v1alpha1.WorkflowExecutionSpec{
			WorkflowRef: v1alpha1.WorkflowRef{WorkflowID: "heal", Version: "1.0.0"}, TargetResource: "team/deployment/web", OnBusy: v1alpha1.OnBusySkip,
		}},
	}[p.pick(3, "kind")]
	obj.SetNamespace(users)
	obj.SetName(name)
	if p.pick(2, "finalizer") == 1 {
		obj.SetFinalizers([]string{"kubernaut.ai/a"})
	}
	c := copies{obj, obj.DeepCopyObject().(client.Object)}
	p.change(c, status) // which is not taken
	p.same("create", c, p.real.Create(p.ctx.Context(), c.real), p.model.create(c.model))
}

// change makes the same change to both copies.
func (p *pair) change(c copies, what part) {
	n := p.pick(3, "value")
	how := p.pick(4, "change")
	for _, obj := range []client.Object{c.real, c.model} {
		switch {
		case what == status:
			changeStatus(obj, n)
		case how == 0:
			obj.SetFinalizers([][]string{nil, {"kubernaut.ai/a"}, {"kubernaut.ai/a", "kubernaut.ai/b"}}[n])
		case how == 1:
			obj.SetLabels(map[string]string{"value": fmt.Sprint(n)})
		case how == 2:
			changeSpec(obj, n)
		case n == 0:
			obj.SetResourceVersion("")
		case n == 1:
			obj.SetUID("00000000-0000-4000-8000-aaaaaaaaaaaa")
		default:
			changeStatus(obj, 7) // which is not taken beside the rest
		}
	}
}

func changeSpec(obj client.Object, n int) {
	switch o := obj.(type) {
	case *pipelinev1.PipelineRun:
		o.Spec.Status = []pipelinev1.PipelineRunSpecStatus{"", pipelinev1.PipelineRunSpecStatusCancelled, pipelinev1.PipelineRunSpecStatusPending}[n]
	case *v1alpha1.WorkflowExecution: // what else may change is up to rules of CEL
		o.Annotations = map[string]string{"value": fmt.Sprint(n)}
	case *v1alpha1.RemediationTarget:
		o.Spec.ClearBlock = &v1alpha1.ClearBlock{Workflow: "heal", BlockID: types.UID(fmt.Sprint("b", n)), Reason: "looked", ClearedBy: "jane"}
	}
}

func changeStatus(obj client.Object, n int) {
	switch o := obj.(type) {
	case *pipelinev1.PipelineRun:
		at := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, n, 0, time.UTC))
		o.Status.CompletionTime = &at
	case *v1alpha1.WorkflowExecution:
		o.Status.ObservedGeneration = int64(n)
		o.Status.Phase = []v1alpha1.Phase{v1alpha1.PhasePending, v1alpha1.PhaseRunning, v1alpha1.PhaseCompleted}[n%3]
	case *v1alpha1.RemediationTarget:
		o.Status.Message = fmt.Sprint("status ", n)
	}
}

// patch sends the difference of a change, on the version that was read or on any.
func (p *pair) patch(c copies, what part) {
	before := copies{c.real.DeepCopyObject().(client.Object), c.model.DeepCopyObject().(client.Object)}
	p.change(c, what)
	patches := copyPatches(before, p.pick(2, "guarded") == 1)
	raw, err := patches[1].Data(c.model)
	if err != nil {
		p.t.Fatal(err)
	}
	var answer error
	if what == status {
		answer = p.real.Status().Patch(p.ctx.Context(), c.real, patches[0])
	} else {
		answer = p.real.Patch(p.ctx.Context(), c.real, patches[0])
	}
	p.same("patch "+string(raw), c, answer, p.model.patch(c.model, raw, what))
}

func copyPatches(before copies, guarded bool) [2]client.Patch {
	if guarded {
		return [2]client.Patch{
			client.MergeFromWithOptions(before.real, client.MergeFromWithOptimisticLock{}),
			client.MergeFromWithOptions(before.model, client.MergeFromWithOptimisticLock{}),
		}
	}
	return [2]client.Patch{client.MergeFrom(before.real), client.MergeFrom(before.model)}
}

// remove deletes an object, with preconditions that hold or do not.
func (p *pair) remove(c copies) {
	var onReal client.Preconditions
	when := &metav1.Preconditions{}
	switch p.pick(4, "precondition") {
	case 1:
		realUID, uid := c.real.GetUID(), c.model.GetUID()
		onReal.UID, when.UID = &realUID, &uid
	case 2:
		realVersion, version := c.real.GetResourceVersion(), c.model.GetResourceVersion()
		onReal.ResourceVersion, when.ResourceVersion = &realVersion, &version
	case 3:
		other := types.UID("00000000-0000-4000-8000-aaaaaaaaaaaa")
		onReal.UID, when.UID = &other, &other
	}
	p.same("delete", c, p.real.Delete(p.ctx.Context(), c.real, onReal), p.model.delete(p.model.keyOf(c.model), when))
}

// same fails when the answers differ, or what is there after them.
func (p *pair) same(what string, c copies, real, model error) {
	p.t.Logf("%s %T %s: %v", what, c.real, c.real.GetName(), real)
	if a, b := apierrors.ReasonForError(real), apierrors.ReasonForError(model); a != b {
		p.t.Fatalf("%s: the server says %q (%v), the model %q (%v)", what, a, real, b, model)
	}
	missing := p.real.Get(p.ctx.Context(), client.ObjectKeyFromObject(c.real), c.real)
	if a, b := apierrors.ReasonForError(missing), apierrors.ReasonForError(p.model.get(p.model.keyOf(c.model), c.model)); a != b {
		p.t.Fatalf("after %s, reading: the server says %q, the model %q", what, a, b)
	}
	if missing != nil {
		return
	}
	if diff := cmp.Diff(p.visible(c.real, false), p.visible(c.model, true)); diff != "" {
		p.t.Fatalf("after %s (-server +model):\n%s", what, diff)
	}
	p.known = append(p.known, copies{c.real.DeepCopyObject().(client.Object), c.model.DeepCopyObject().(client.Object)})
}

// visible is an object without what the two sides choose for themselves: of UIDs
// and versions it matters which of those read so far they equal.
func (p *pair) visible(obj client.Object, model bool) map[string]any {
	m := asMap(obj)
	meta := m["metadata"].(map[string]any)
	for _, name := range []string{"managedFields", "creationTimestamp", "uid", "resourceVersion", "deletionTimestamp"} {
		delete(meta, name)
	}
	delete(m, "kind")
	delete(m, "apiVersion")
	m["deleting"] = obj.GetDeletionTimestamp() != nil
	for i, c := range p.known {
		of := c.real
		if model {
			of = c.model
		}
		if of.GetUID() == obj.GetUID() {
			m["same as"] = i
		}
		if of.GetResourceVersion() == obj.GetResourceVersion() {
			m["same version as"] = i
		}
	}
	return m
}
