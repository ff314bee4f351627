package observe

import (
	"context"
	"regexp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// resourceText matches what the API server says of content that remains:
// "configmaps. has 1 resource instances", "pipelineruns.tekton.dev has 2 …".
var resourceText = regexp.MustCompile(`([a-z0-9]+)\.([a-z0-9.-]*) has \d+ resource instances`)

// remaining reads what still is in the namespaces that are being deleted, of
// whatever kind.
func (l *looker) remaining(ctx context.Context) {
	for _, u := range l.terminating() {
		conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
		for _, c := range conditions {
			m, _ := c.(map[string]any)
			message, _ := m["message"].(string)
			for _, found := range resourceText.FindAllStringSubmatch(message, -1) {
				l.resource(ctx, schema.GroupResource{Resource: found[1], Group: found[2]}, u.GetName())
			}
		}
	}
}

func (l *looker) terminating() []*unstructured.Unstructured {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []*unstructured.Unstructured
	for _, u := range l.objects {
		if u.GetKind() == "Namespace" && u.GetDeletionTimestamp() != nil {
			for _, looked := range l.scope.Namespaces {
				if looked == u.GetName() {
					found = append(found, u)
				}
			}
		}
	}
	return found
}

func (l *looker) resource(ctx context.Context, gr schema.GroupResource, namespace string) {
	gvk, err := l.Mapper.KindFor(gr.WithVersion(""))
	if err != nil {
		return // the namespace's condition names it
	}
	for _, known := range inNamespace {
		if known.GroupKind() == gvk.GroupKind() {
			return // read already
		}
	}
	gvr, err := l.Mapper.ResourceFor(gr.WithVersion(""))
	if err != nil {
		return
	}
	found, err := l.Dynamic.Resource(gvr).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err == nil {
		l.add(found.Items, gvk)
	}
}
