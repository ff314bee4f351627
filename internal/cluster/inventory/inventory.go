// Package inventory lists the objects of a cluster that carry a label, whatever
// their kinds, and removes them in an order in which none is left hanging.
package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// Inventory sees one cluster.
type Inventory struct {
	kinds   discovery.DiscoveryInterface
	objects dynamic.Interface
}

// Item is one object.
type Item struct {
	Resource        schema.GroupVersionResource
	Kind            string
	Namespace, Name string
}

// String is how messages write the object.
func (i Item) String() string {
	text := fmt.Sprintf("%s %q", i.Kind, i.Name)
	if i.Namespace != "" {
		text += " in " + i.Namespace
	}
	return text
}

// New connects to the API server of the configuration.
func New(cfg *rest.Config) (*Inventory, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.WarningHandler = -1, rest.NoWarnings{}
	kinds, kindsErr := discovery.NewDiscoveryClientForConfig(cfg)
	objects, objectsErr := dynamic.NewForConfig(cfg)
	if err := errors.Join(kindsErr, objectsErr); err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", cfg.Host, err)
	}
	return &Inventory{kinds: kinds, objects: objects}, nil
}

// made are kinds that the cluster makes and removes by itself with others.
var made = []string{"Event", "Endpoints", "EndpointSlice", "ReplicaSet", "Pod", "ControllerRevision", "Lease"}

// List returns the objects that the selector matches, in the order in which
// Remove takes them.
func (in *Inventory) List(ctx context.Context, selector string) ([]Item, error) {
	lists, err := in.kinds.ServerPreferredResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) { // an aggregated API that is away hides only itself
		return nil, fmt.Errorf("asking the cluster for its kinds: %w", err)
	}
	var all []Item
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, kind := range list.APIResources {
			if !slices.Contains(kind.Verbs, "delete") || !slices.Contains(kind.Verbs, "list") || slices.Contains(made, kind.Kind) {
				continue
			}
			found, err := in.list(ctx, gv.WithResource(kind.Name), selector)
			if err != nil {
				return nil, fmt.Errorf("listing %s: %w", kind.Name, err)
			}
			for _, u := range found.Items {
				all = append(all, Item{gv.WithResource(kind.Name), kind.Kind, u.GetNamespace(), u.GetName()})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Item) int {
		return cmp.Or(cmp.Compare(rank(a.Kind), rank(b.Kind)), cmp.Compare(a.String(), b.String()))
	})
	return all, nil
}

func (in *Inventory) list(ctx context.Context, r schema.GroupVersionResource, selector string) (*unstructured.UnstructuredList, error) {
	found, err := in.objects.Resource(r).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return &unstructured.UnstructuredList{}, nil
	}
	return found, err
}

// rank orders kinds: first what would refuse changes, then what runs, then what
// it used, then kinds with all their objects, and namespaces last.
func rank(kind string) int {
	switch kind {
	case "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding":
		return 0
	case "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob":
		return 1
	case "CustomResourceDefinition":
		return 3
	case "Namespace":
		return 4
	}
	return 2
}

// Kinds are the definitions of the kinds of a group.
func (in *Inventory) Kinds(ctx context.Context, group string) ([]Item, error) {
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	found, err := in.list(ctx, definitions, "")
	if err != nil {
		return nil, fmt.Errorf("listing the kinds of %s: %w", group, err)
	}
	var all []Item
	for _, u := range found.Items {
		if of, _, _ := unstructured.NestedString(u.Object, "spec", "group"); of == group {
			all = append(all, Item{Resource: definitions, Kind: "CustomResourceDefinition", Name: u.GetName()})
		}
	}
	return all, nil
}

// Remove deletes the items, rank by rank, and returns when they are gone. An
// error names what is still there when ctx ends, and what holds it.
func (in *Inventory) Remove(ctx context.Context, items []Item, say func(string)) error {
	for from := 0; from < len(items); {
		to := from
		for to < len(items) && rank(items[to].Kind) == rank(items[from].Kind) {
			to++
		}
		for _, item := range items[from:to] {
			say("removing " + item.String())
			if err := in.delete(ctx, item); err != nil {
				return fmt.Errorf("removing %s: %w", item, err)
			}
		}
		for _, item := range items[from:to] {
			if err := in.awaitGone(ctx, item, say); err != nil {
				return err
			}
		}
		from = to
	}
	return nil
}

func (in *Inventory) delete(ctx context.Context, item Item) error {
	background := metav1.DeletePropagationBackground
	err := in.objects.Resource(item.Resource).Namespace(item.Namespace).Delete(ctx, item.Name, metav1.DeleteOptions{PropagationPolicy: &background})
	if gone(err) {
		return nil
	}
	return err
}

// gone tells whether there is no such object, or not even its kind any more.
func gone(err error) bool { return apierrors.IsNotFound(err) }

func (in *Inventory) awaitGone(ctx context.Context, item Item, say func(string)) error {
	resource := in.objects.Resource(item.Resource).Namespace(item.Namespace)
	for {
		u, err := resource.Get(ctx, item.Name, metav1.GetOptions{})
		switch {
		case gone(err):
			return nil
		case err != nil && ctx.Err() == nil:
			return fmt.Errorf("waiting until %s is gone: %w", item, err)
		case err != nil:
			return fmt.Errorf("%s is not gone yet: %w", item, ctx.Err())
		case u.GetDeletionTimestamp() == nil: // made again by somebody since
			return nil
		}
		say("waiting until " + item.String() + " is gone" + heldBy(u))
		if err := in.untilChange(ctx, resource, u); err != nil {
			return fmt.Errorf("%s is not gone yet%s: %w", item, heldBy(u), err)
		}
	}
}

// untilChange returns at the next change of the object.
func (in *Inventory) untilChange(ctx context.Context, resource dynamic.ResourceInterface, u *unstructured.Unstructured) error {
	w, err := resource.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + u.GetName(), ResourceVersion: u.GetResourceVersion()})
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer w.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case e, ok := <-w.ResultChan():
		if ok && e.Type == watch.Error && !apierrors.IsGone(apierrors.FromObject(e.Object)) {
			return apierrors.FromObject(e.Object)
		}
		return nil
	}
}

func heldBy(u *unstructured.Unstructured) string {
	held := u.GetFinalizers()
	spec, _, _ := unstructured.NestedStringSlice(u.Object, "spec", "finalizers") // of a namespace
	if held = append(held, spec...); len(held) > 0 {
		return ", held by " + strings.Join(held, ", ")
	}
	return ""
}
