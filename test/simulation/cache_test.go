package simulation

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/controller"
)

// kinds are what the controller keeps caches of.
var kinds = []string{"WorkflowExecution", "RemediationTarget", "PipelineRun", "TaskRun", "Pod", "ConfigMap"}

// worked are the kinds that the controller works on.
var worked = []string{"WorkflowExecution", "RemediationTarget", "PipelineRun", "ConfigMap"}

// mirror is the cache of one replica: for each kind, what the server held at some
// earlier time, as far as the controller's selectors let it through.
type mirror struct {
	server  *server
	seen    map[string]int // by kind: how much of the history is in
	objects map[key]client.Object
	selects map[string]cache.ByObject
	indexes map[string]client.IndexerFunc
}

func newMirror(s *server) *mirror {
	m := &mirror{server: s, seen: map[string]int{}, objects: map[key]client.Object{},
		selects: map[string]cache.ByObject{}, indexes: map[string]client.IndexerFunc{}}
	for obj, by := range controller.CacheOptions().ByObject {
		m.selects[s.kindOf(obj).Kind] = by
	}
	if err := controller.Index(context.Background(), m); err != nil {
		panic(err)
	}
	return m
}

// IndexField lets objects be listed by what extract says of them.
func (m *mirror) IndexField(_ context.Context, _ client.Object, field string, extract client.IndexerFunc) error {
	m.indexes[field] = extract
	return nil
}

// follow takes in the next n changes of a kind; all of them when n is negative.
func (m *mirror) follow(kind string, n int) {
	history := m.server.history
	for i := m.seen[kind]; i < len(history) && n != 0; i++ {
		m.seen[kind] = i + 1
		if history[i].key.kind != kind {
			continue
		}
		n--
		delete(m.objects, history[i].key)
		if after := history[i].after; after != nil && m.selected(kind, after) {
			m.objects[history[i].key] = after
		}
	}
}

func (m *mirror) followAll() {
	for _, kind := range kinds {
		m.follow(kind, -1)
	}
}

func (m *mirror) selected(kind string, obj client.Object) bool {
	by := m.selects[kind]
	if _, in := by.Namespaces[obj.GetNamespace()]; len(by.Namespaces) > 0 && !in {
		return false
	}
	if by.Label != nil && !by.Label.Matches(labels.Set(obj.GetLabels())) {
		return false
	}
	return by.Field == nil || by.Field.Matches(selectable(obj))
}

// selectable are the fields of an object that a selector may name.
func selectable(obj client.Object) fields.Set {
	set := fields.Set{"metadata.name": obj.GetName(), "metadata.namespace": obj.GetNamespace()}
	if ex, ok := obj.(*v1alpha1.WorkflowExecution); ok {
		set["status.phase"] = string(ex.Status.Phase)
	}
	return set
}

func (m *mirror) get(k key, out client.Object) error {
	stored, ok := m.objects[k]
	if !ok {
		return k.missing()
	}
	into(stored, out)
	return nil
}

// list fills out with the objects that the options let through, in the order of
// their names.
func list(from map[key]client.Object, kind string, indexes map[string]client.IndexerFunc, out client.ObjectList, opts ...client.ListOption) error {
	var o client.ListOptions
	o.ApplyOptions(opts)
	var found []runtime.Object
	for _, k := range sorted(from, kind) {
		obj := from[k]
		if o.Namespace != "" && o.Namespace != k.Namespace || o.LabelSelector != nil && !o.LabelSelector.Matches(labels.Set(obj.GetLabels())) {
			continue
		}
		if o.FieldSelector == nil || matches(obj, o.FieldSelector, indexes) {
			found = append(found, obj.DeepCopyObject())
		}
	}
	return meta.SetList(out, found)
}

func matches(obj client.Object, selector fields.Selector, indexes map[string]client.IndexerFunc) bool {
	for _, r := range selector.Requirements() {
		extract, known := indexes[r.Field]
		if !known {
			panic("nobody indexes " + r.Field)
		}
		if !slices.Contains(extract(obj), r.Value) {
			return false
		}
	}
	return true
}

// sorted are the names of one kind: a simulation takes no other order, or it could
// not be repeated.
func sorted(from map[key]client.Object, kind string) []key {
	var all []key
	for k := range from {
		if k.kind == kind {
			all = append(all, k)
		}
	}
	slices.SortFunc(all, func(a, b key) int { return strings.Compare(a.String(), b.String()) })
	return all
}
