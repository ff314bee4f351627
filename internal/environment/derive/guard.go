package derive

import (
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// Webhook names an admission webhook that answers: its endpoints are ready, and
// its certificate authority is filled in.
func Webhook(name string) plan.Object { return plan.Object{Kind: "Webhook", Name: name} }

// Guard is a webhook of the plan that the API server asks before it takes an
// object, and that refuses everything while it does not answer.
type Guard struct {
	Hook    plan.Object
	rules   []metav1.GroupKind // of the kinds it is asked about; "*" is any
	plural  []schema.GroupResource
	objects labels.Selector
}

// Guards reads webhook configurations. Rules that a webhook fills in by itself
// at run time stand in no manifest: filled says them, by the webhook's name. A
// webhook that may fail guards nothing.
func Guards(configurations []*unstructured.Unstructured, filled map[string][]metav1.GroupKind) ([]Guard, error) {
	var all []Guard
	for _, u := range configurations {
		for _, entry := range hooksOf(u) {
			var hook admissionv1.ValidatingWebhook // a mutating one has the same fields and more
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(entry, &hook); err != nil {
				return nil, fmt.Errorf("%s: reading its webhooks: %w", Of(u), err)
			}
			if hook.FailurePolicy != nil && *hook.FailurePolicy == admissionv1.Ignore {
				continue
			}
			guard := Guard{Hook: Webhook(hook.Name), rules: filled[hook.Name], objects: labels.Everything()}
			if hook.ObjectSelector != nil {
				selector, err := metav1.LabelSelectorAsSelector(hook.ObjectSelector)
				if err != nil {
					return nil, fmt.Errorf("%s: webhook %s: %w", Of(u), hook.Name, err)
				}
				guard.objects = selector
			}
			guard.plural = resourcesOf(hook.Rules)
			all = append(all, guard)
		}
	}
	return all, nil
}

// Hooks are the webhooks that a configuration registers.
func Hooks(configurations ...*unstructured.Unstructured) []plan.Object {
	var found []plan.Object
	for _, u := range configurations {
		for _, entry := range hooksOf(u) {
			name, _, _ := unstructured.NestedString(entry, "name")
			found = append(found, Webhook(name))
		}
	}
	return found
}

func hooksOf(u *unstructured.Unstructured) []map[string]any {
	if u.GetKind() != "ValidatingWebhookConfiguration" && u.GetKind() != "MutatingWebhookConfiguration" {
		return nil
	}
	return list(u.Object, "webhooks")
}

// resourcesOf are the resources of rules about objects being made or changed.
func resourcesOf(rules []admissionv1.RuleWithOperations) []schema.GroupResource {
	var all []schema.GroupResource
	for _, r := range rules {
		writes := func(o admissionv1.OperationType) bool {
			return o == admissionv1.Create || o == admissionv1.Update || o == admissionv1.OperationAll
		}
		if !slices.ContainsFunc(r.Operations, writes) {
			continue
		}
		for _, group := range r.APIGroups {
			for _, resource := range r.Resources {
				all = append(all, schema.GroupResource{Group: group, Resource: resource})
			}
		}
	}
	return all
}

// matches tells whether the webhook is asked about the object. Namespaces are
// taken to be selected: a need too many costs a moment, one too few is a race.
func (g Guard) matches(u *unstructured.Unstructured) bool {
	if !g.objects.Matches(labels.Set(u.GetLabels())) {
		return false
	}
	gvk := u.GroupVersionKind()
	if slices.ContainsFunc(g.rules, func(k metav1.GroupKind) bool {
		return like(k.Group, gvk.Group) && like(k.Kind, gvk.Kind)
	}) {
		return true
	}
	plural, _ := meta.UnsafeGuessKindToResource(gvk)
	return slices.ContainsFunc(g.plural, func(r schema.GroupResource) bool {
		return like(r.Group, gvk.Group) && (like(r.Resource, plural.Resource) || r.Resource == "*/*")
	})
}

func like(pattern, text string) bool { return pattern == "*" || pattern == text }

// Guarded lists the webhooks that must answer before the objects can be sent.
func Guarded(guards []Guard, objects ...*unstructured.Unstructured) []plan.Need {
	var all []plan.Need
	for _, u := range objects {
		for _, g := range guards {
			if g.matches(u) {
				all = append(all, plan.Need{By: Of(u), Of: g.Hook})
			}
		}
	}
	return all
}
