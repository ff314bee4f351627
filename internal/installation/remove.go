// Package installation takes Kubernaut out of a cluster in the order in which
// nothing is lost and nothing is left hanging, and brings its objects' kinds up
// to a newer version.
//
//	executions settle ─► runs stop ─► controller and policies end ─► records go ─► everything else ─► kinds
package installation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cluster/inventory"
)

// PartOf is the label of everything that the chart installs.
const PartOf = "app.kubernetes.io/part-of=kubernaut"

// Removal says how far Remove may go.
type Removal struct {
	Cancel   bool   // running executions are cancelled; false: they are a reason to refuse
	Force    bool   // finalizers are removed where no controller runs that could release them
	Purge    bool   // data, passwords and namespaces go too
	Selector string // of the objects to remove at the end; empty: PartOf
}

// ErrRunning says that executions still run.
var ErrRunning = errors.New("executions still run")

// remover takes one installation out of one cluster.
type remover struct {
	Removal
	client client.WithWatch
	all    *inventory.Inventory
	say    func(string)
}

// Remove takes Kubernaut out of the cluster. It may be called again after it
// was interrupted; what is gone already is no error.
func Remove(ctx context.Context, cfg *rest.Config, o Removal, say func(string)) error {
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), tekton.AddToScheme(scheme), appsv1.AddToScheme(scheme)); err != nil {
		return err
	}
	objects, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	all, err := inventory.New(cfg)
	if err != nil {
		return err
	}
	if o.Selector == "" {
		o.Selector = PartOf
	}
	r := &remover{Removal: o, client: objects, all: all, say: say}
	ours, err := r.ours(ctx)
	if err != nil {
		return err
	}
	if !ours { // the executions belong to an installation of others
		return r.rest(ctx)
	}
	for _, step := range []func(context.Context) error{r.settle, r.executions, r.runs, r.controller, r.policies, r.records, r.rest} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ours tells whether the installation itself is among what is selected.
func (r *remover) ours(ctx context.Context) (bool, error) {
	if r.Selector == PartOf {
		return true, nil
	}
	found, err := r.all.List(ctx, r.Selector)
	own := "workflowexecutions." + v1alpha1.GroupVersion.Group
	return slices.ContainsFunc(found, func(i inventory.Item) bool { return i.Kind == "CustomResourceDefinition" && i.Name == own }), err
}

// absent tells whether the API server does not know a kind, so that there can
// be no object of it.
func absent(err error) bool { return meta.IsNoMatchError(err) || apierrors.IsNotFound(err) }

func ended(e *v1alpha1.WorkflowExecution) bool {
	switch e.Status.Phase {
	case v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed, v1alpha1.PhaseSkipped, v1alpha1.PhaseCancelled:
		return true
	}
	return false
}

// settle waits until no execution runs: it refuses, or cancels them.
func (r *remover) settle(ctx context.Context) error {
	list := &v1alpha1.WorkflowExecutionList{}
	if err := r.client.List(ctx, list); err != nil {
		if absent(err) {
			return nil
		}
		return fmt.Errorf("looking for executions: %w", err)
	}
	if err := r.canRelease(ctx, list); err != nil {
		return err
	}
	var running []*v1alpha1.WorkflowExecution
	var names []string
	for i := range list.Items {
		if !ended(&list.Items[i]) {
			running = append(running, &list.Items[i])
			names = append(names, list.Items[i].Namespace+"/"+list.Items[i].Name)
		}
	}
	switch {
	case len(running) == 0 || r.Force:
		return nil
	case !r.Cancel:
		return fmt.Errorf("%w: %s; wait until they have ended, or cancel them (kubernaut cancel NAME, or all: kubernaut uninstall --yes --cancel)", ErrRunning, strings.Join(names, ", "))
	}
	for _, e := range running {
		if err := r.cancel(ctx, e); err != nil {
			return err
		}
	}
	return until(ctx, r.client, list, func() (bool, string) {
		left := slices.IndexFunc(list.Items, func(e v1alpha1.WorkflowExecution) bool { return !ended(&e) })
		if left < 0 {
			return true, ""
		}
		return false, "execution " + list.Items[left].Name + " stops"
	}, r.say)
}

func (r *remover) cancel(ctx context.Context, e *v1alpha1.WorkflowExecution) error {
	if e.Spec.Cancel != nil && e.Spec.Cancel.Mode == v1alpha1.CancelImmediate {
		return nil
	}
	r.say("cancelling execution " + e.Name)
	before := client.MergeFrom(e.DeepCopy())
	e.Spec.Cancel = &v1alpha1.CancelRequest{Mode: v1alpha1.CancelImmediate, Reason: "Kubernaut is being uninstalled"}
	if err := r.client.Patch(ctx, e, before); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("cancelling execution %s: %w", e.Name, err)
	}
	return nil
}

// canRelease refuses to begin what nobody could end: finalizers are released by
// the controller, when the audit trail has everything.
func (r *remover) canRelease(ctx context.Context, list *v1alpha1.WorkflowExecutionList) error {
	held := slices.ContainsFunc(list.Items, func(e v1alpha1.WorkflowExecution) bool { return len(e.Finalizers) > 0 })
	if !held || r.Force {
		return nil
	}
	var d appsv1.Deployment
	err := r.client.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: controllerName}, &d)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("looking for the controller: %w", err)
	}
	if d.Status.AvailableReplicas > 0 {
		return nil
	}
	return errors.New("the controller does not run, and executions wait for it to release them: start it, or remove them without it (kubernaut uninstall --yes --force); then what their audit trails lack is lost")
}

const controllerName = "kubernaut-controller"

// executions deletes all of them and waits until they are gone.
func (r *remover) executions(ctx context.Context) error {
	list := &v1alpha1.WorkflowExecutionList{}
	return r.deleteAll(ctx, list, func() []client.Object {
		var all []client.Object
		for i := range list.Items {
			all = append(all, &list.Items[i])
		}
		return all
	}, v1alpha1.ExecutionFinalizer)
}

// runs deletes the runs of executions. Their outcome is recorded by now.
func (r *remover) runs(ctx context.Context) error {
	list := &tekton.PipelineRunList{}
	return r.deleteAll(ctx, list, func() []client.Object {
		var all []client.Object
		for i := range list.Items {
			if list.Items[i].Labels[v1alpha1.LabelExecutionUID] != "" {
				all = append(all, &list.Items[i])
			}
		}
		return all
	}, v1alpha1.RunFinalizer)
}

// controller ends it: nobody makes records anew.
func (r *remover) controller(ctx context.Context) error {
	d := &appsv1.Deployment{}
	d.Namespace, d.Name = v1alpha1.SystemNamespace, controllerName
	if err := r.client.Get(ctx, client.ObjectKeyFromObject(d), d); err != nil {
		return client.IgnoreNotFound(err)
	}
	if d.Labels["app.kubernetes.io/part-of"] != "kubernaut" {
		return nil
	}
	r.say("ending the controller")
	return client.IgnoreNotFound(r.client.Delete(ctx, d, client.PropagationPolicy("Foreground")))
}

// policies removes them: they keep everybody but the controller from releasing
// records.
func (r *remover) policies(ctx context.Context) error {
	found, err := r.all.List(ctx, r.Selector)
	if err != nil {
		return err
	}
	var policies []inventory.Item
	for _, i := range found {
		if strings.Contains(i.Kind, "AdmissionPolicy") {
			policies = append(policies, i)
		}
	}
	return r.all.Remove(ctx, policies, r.say)
}

// records deletes the records of targets. They are kept from deletion while
// they say something; there is nobody any more to whom they could.
func (r *remover) records(ctx context.Context) error {
	r.Force = true
	list := &v1alpha1.RemediationTargetList{}
	return r.deleteAll(ctx, list, func() []client.Object {
		var all []client.Object
		for i := range list.Items {
			all = append(all, &list.Items[i])
		}
		return all
	}, v1alpha1.TargetFinalizer)
}

// deleteAll deletes the objects of a list and waits until there are none.
func (r *remover) deleteAll(ctx context.Context, list client.ObjectList, objects func() []client.Object, finalizer string) error {
	err := until(ctx, r.client, list, func() (bool, string) {
		left := objects()
		if len(left) == 0 {
			return true, ""
		}
		return false, fmt.Sprintf("%d of %T are still there, %s among them", len(left), left[0], left[0].GetName())
	}, func(note string) {
		for _, o := range objects() {
			if err := r.remove(ctx, o, finalizer); err != nil && ctx.Err() == nil {
				r.say(err.Error())
			}
		}
		r.say(note)
	})
	if absent(err) {
		return nil
	}
	return err
}

func (r *remover) remove(ctx context.Context, o client.Object, finalizer string) error {
	if o.GetDeletionTimestamp() == nil {
		if err := r.client.Delete(ctx, o); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	if !r.Force || !controllerutil.ContainsFinalizer(o, finalizer) {
		return nil
	}
	before := client.MergeFrom(o.DeepCopyObject().(client.Object))
	controllerutil.RemoveFinalizer(o, finalizer)
	return client.IgnoreNotFound(r.client.Patch(ctx, o, before))
}

// keptWithoutPurge are the kinds of objects that hold what cannot be made again.
var keptWithoutPurge = []string{"PersistentVolumeClaim", "PersistentVolume", "Secret", "Namespace"}

// rest removes what is labelled, and the kinds last.
func (r *remover) rest(ctx context.Context) error {
	found, err := r.all.List(ctx, r.Selector)
	if err != nil {
		return err
	}
	var items, kinds []inventory.Item
	for _, i := range found {
		switch {
		case !r.Purge && slices.Contains(keptWithoutPurge, i.Kind):
			r.say("keeping " + i.String())
		case i.Kind == "CustomResourceDefinition" || i.Kind == "Namespace":
			kinds = append(kinds, i)
		default:
			items = append(items, i)
		}
	}
	if r.Selector == PartOf { // Helm's chart has them without a label
		own, err := r.all.Kinds(ctx, v1alpha1.GroupVersion.Group)
		if err != nil {
			return err
		}
		kinds = append(own, kinds...)
	}
	return r.all.Remove(ctx, append(items, kinds...), r.say)
}
