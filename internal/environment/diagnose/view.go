package diagnose

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// view is a snapshot in which things can be found.
type view struct {
	Snapshot
	objects   map[plan.Object]*unstructured.Unstructured
	pods      []*corev1.Pod
	nodes     []*corev1.Node
	services  []*corev1.Service
	endpoints []*discoveryv1.EndpointSlice
	events    map[plan.Object][]happening // by what they are about, oldest first
}

// happening is an event, whichever way it was written.
type happening struct {
	reason, message string
	container       string // of the pod; empty: it is about all of the object
	first, last     time.Time
	count           int
}

func newView(s Snapshot) *view {
	v := &view{Snapshot: s, objects: map[plan.Object]*unstructured.Unstructured{}, events: map[plan.Object][]happening{}}
	for _, u := range s.Objects {
		if u.GetKind() == "Event" {
			continue
		}
		v.objects[derive.Of(u)] = u
		switch u.GetKind() {
		case "Pod":
			v.pods = append(v.pods, decode[corev1.Pod](u))
		case "Node":
			v.nodes = append(v.nodes, decode[corev1.Node](u))
		case "Service":
			v.services = append(v.services, decode[corev1.Service](u))
		case "EndpointSlice":
			v.endpoints = append(v.endpoints, decode[discoveryv1.EndpointSlice](u))
		}
	}
	for _, u := range v.kind("Event", "") {
		v.addEvent(decode[corev1.Event](u))
	}
	for _, all := range v.events {
		slices.SortStableFunc(all, func(a, b happening) int { return a.last.Compare(b.last) })
	}
	return v
}

// decode reads an object that the API server wrote. One that cannot be read is
// empty, and then no rule finds anything in it.
func decode[T any](u *unstructured.Unstructured) *T {
	o := new(T)
	_ = runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, o) // see above
	return o
}

// containerPath is how an event says which container of a pod it is about.
var containerPath = regexp.MustCompile(`^spec\.(?:initContainers|containers|ephemeralContainers)\{(.+)\}$`)

// addEvent takes an event in, unless it is about an object that is gone and had
// the name of one that is there.
func (v *view) addEvent(e *corev1.Event) {
	about := plan.Object{Kind: e.InvolvedObject.Kind, Namespace: e.InvolvedObject.Namespace, Name: e.InvolvedObject.Name}
	if u, ok := v.objects[about]; ok && !isAbout(u, e.InvolvedObject.UID) {
		return
	}
	h := happening{reason: e.Reason, message: strings.TrimSpace(e.Message), count: max(1, int(e.Count))}
	if m := containerPath.FindStringSubmatch(e.InvolvedObject.FieldPath); m != nil {
		h.container = m[1]
	}
	h.first, h.last = e.FirstTimestamp.Time, e.LastTimestamp.Time
	if h.first.IsZero() {
		h.first = e.EventTime.Time
	}
	if h.last.IsZero() {
		h.last = h.first
	}
	if e.Series != nil {
		h.last, h.count = e.Series.LastObservedTime.Time, int(e.Series.Count)
	}
	v.events[about] = append(v.events[about], h)
}

// isAbout tells whether an event with that UID can be about the object. The
// kubelet writes its node's name for one, and of a static pod the UID that only
// it knows.
func isAbout(u *unstructured.Unstructured, uid types.UID) bool {
	return uid == "" || u.GetUID() == "" || uid == u.GetUID() || u.GetKind() == "Node" || string(uid) == u.GetAnnotations()[corev1.MirrorPodAnnotationKey]
}

// lastEvent is the newest event about the object that ok accepts.
func (v *view) lastEvent(about plan.Object, ok func(happening) bool) (happening, bool) {
	all := v.events[about]
	for i := len(all) - 1; i >= 0; i-- {
		if ok(all[i]) {
			return all[i], true
		}
	}
	return happening{}, false
}

func (v *view) kind(kind, namespace string) []*unstructured.Unstructured {
	var found []*unstructured.Unstructured
	for _, u := range v.Objects {
		if u.GetKind() == kind && (namespace == "" || u.GetNamespace() == namespace) {
			found = append(found, u)
		}
	}
	return found
}

func (v *view) names(kind, namespace string) []string {
	var names []string
	for _, u := range v.kind(kind, namespace) {
		names = append(names, u.GetName())
	}
	return names
}

// readable tells whether all of these kinds could be read: else nothing follows
// from what is not there.
func (v *view) readable(kinds ...string) bool {
	return !slices.ContainsFunc(kinds, func(kind string) bool { return slices.Contains(v.Unreadable, kind) })
}

// looked tells whether the namespace's content was read.
func (v *view) looked(namespace string) bool { return slices.Contains(v.Namespaces, namespace) }

func podObject(p *corev1.Pod) plan.Object {
	return plan.Object{Kind: "Pod", Namespace: p.Namespace, Name: p.Name}
}

// owners are the objects that made the pod, the nearest first.
func (v *view) owners(namespace string, of []metav1.OwnerReference) []plan.Object {
	var chain []plan.Object
	for len(of) > 0 && len(chain) < 4 {
		owner := of[0]
		for _, o := range of {
			if o.Controller != nil && *o.Controller {
				owner = o
			}
		}
		if owner.Kind == "Node" {
			break
		}
		o := plan.Object{Kind: owner.Kind, Namespace: namespace, Name: owner.Name}
		chain = append(chain, o)
		u, ok := v.objects[o]
		if !ok {
			break
		}
		of = u.GetOwnerReferences()
	}
	return chain
}

// workload is what a person would call the pod: the last of its owners.
func (v *view) workload(p *corev1.Pod) plan.Object {
	chain := v.owners(p.Namespace, p.OwnerReferences)
	if len(chain) == 0 {
		return podObject(p)
	}
	return chain[len(chain)-1]
}

// around are the pod, what made it, and the Services it answers for.
func (v *view) around(p *corev1.Pod) []plan.Object {
	all := append([]plan.Object{podObject(p)}, v.owners(p.Namespace, p.OwnerReferences)...)
	for _, s := range v.services {
		if s.Namespace == p.Namespace && selects(s, p.Labels) {
			all = append(all, serviceObject(s))
		}
	}
	return all
}

func serviceObject(s *corev1.Service) plan.Object {
	return plan.Object{Kind: "Service", Namespace: s.Namespace, Name: s.Name}
}

func selects(s *corev1.Service, of map[string]string) bool {
	return len(s.Spec.Selector) > 0 && labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(of))
}

const revision = "deployment.kubernetes.io/revision"

// current tells whether the pod was made from its workload as it is now: what
// pods of an older revision suffer says nothing about the new one.
func (v *view) current(p *corev1.Pod) bool {
	if p.DeletionTimestamp != nil {
		return false
	}
	chain := v.owners(p.Namespace, p.OwnerReferences)
	if len(chain) == 0 {
		return true
	}
	owner, known := v.objects[chain[len(chain)-1]]
	if !known {
		return true
	}
	switch owner.GetKind() {
	case "Deployment":
		set, ok := v.objects[chain[0]]
		return !ok || set.GetAnnotations()[revision] == owner.GetAnnotations()[revision]
	case "StatefulSet":
		s := decode[appsv1.StatefulSet](owner)
		made := p.Labels[appsv1.StatefulSetRevisionLabel]
		return made == "" || s.Status.UpdateRevision == "" || made == s.Status.UpdateRevision
	case "Job":
		return conditionStatus(owner, "Complete") != "True"
	}
	return true
}

// log is the end of a container's log, of its previous life when previous is
// set, and nothing when it is not known.
func (v *view) log(p *corev1.Pod, container string, previous bool) []string {
	for _, l := range v.Logs {
		if l.Namespace == p.Namespace && l.Pod == p.Name && l.Container == container && l.Previous == previous {
			return l.Lines
		}
	}
	return nil
}

// condition is one condition of an object, whatever its kind.
type condition struct{ kind, status, reason, message, since string }

func conditions(u *unstructured.Unstructured) []condition {
	entries, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	var found []condition
	for _, e := range entries {
		c, ok := e.(map[string]any)
		if !ok {
			continue
		}
		text := func(key string) string { s, _ := c[key].(string); return s }
		found = append(found, condition{text("type"), text("status"), text("reason"), text("message"), text("lastTransitionTime")})
	}
	return found
}

func conditionOf(u *unstructured.Unstructured, kind string) (condition, bool) {
	for _, c := range conditions(u) {
		if c.kind == kind {
			return c, true
		}
	}
	return condition{}, false
}

func conditionStatus(u *unstructured.Unstructured, kind string) string {
	c, _ := conditionOf(u, kind)
	return c.status
}

// time of the condition's last change; zero when it says none.
func (c condition) time() time.Time {
	t, _ := time.Parse(time.RFC3339, c.since) // zero is what is wanted then
	return t
}

func (c condition) evidence(of plan.Object) Evidence {
	text := c.kind + "=" + c.status
	if why := strings.Trim(c.reason+": "+c.message, ": "); why != "" {
		text += " (" + why + ")"
	}
	return Evidence{From: "condition of " + of.Kind + " " + of.Name, Text: text, At: c.time()}
}

func (h happening) evidence(of plan.Object) Evidence {
	return Evidence{From: "event " + h.reason + " of " + of.Kind + " " + of.Name, Text: h.message, At: h.first}
}

func kubectl(namespace, command string) string {
	if namespace == "" {
		return "kubectl " + command
	}
	return "kubectl -n " + namespace + " " + command
}

func sorted[T cmp.Ordered](of []T) []T {
	slices.Sort(of)
	return of
}
