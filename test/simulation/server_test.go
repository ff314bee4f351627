package simulation

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// server is a model of the API server, as far as its clients can tell: unique
// names, optimistic concurrency, status apart from the rest, finalizers, and
// preconditions. Schemas and admission are left out.
type server struct {
	scheme  *runtime.Scheme
	now     func() time.Time
	objects map[key]client.Object // never changed once they are here
	history []change              // everything that happened, for caches that are behind
	serial  int                   // of the last write; its text is a resourceVersion
	named   int                   // UIDs given so far
	by      string                // who writes
	// changed is told of every write that changed something.
	changed func(by string, before, after client.Object)
	// forgetful is a kind that is written without a look at the version that the
	// write was decided on.
	forgetful string
}

// key names one object.
type key struct {
	kind string
	types.NamespacedName
}

// change is one write: the object as it became, nil when it went.
type change struct {
	key   key
	after client.Object
}

func newServer(scheme *runtime.Scheme, now func() time.Time) *server {
	return &server{scheme: scheme, now: now, objects: map[key]client.Object{}, changed: func(string, client.Object, client.Object) {}}
}

func (s *server) kindOf(obj runtime.Object) schema.GroupVersionKind {
	gvk, err := apiutil.GVKForObject(obj, s.scheme)
	if err != nil {
		panic(err) // the simulation asks for a kind that the controller does not know
	}
	return gvk
}

func (s *server) keyOf(obj client.Object) key {
	return key{s.kindOf(obj).Kind, client.ObjectKeyFromObject(obj)}
}

func (k key) resource() schema.GroupResource { return schema.GroupResource{Resource: k.kind} }

func (k key) missing() error { return apierrors.NewNotFound(k.resource(), k.Name) }

func (k key) conflict(why string, args ...any) error {
	return apierrors.NewConflict(k.resource(), k.Name, fmt.Errorf(why, args...))
}

// asMap is an object as JSON has it. What JSON does not carry is not stored.
func asMap(obj any) map[string]any {
	raw, err := json.Marshal(obj)
	if err != nil {
		panic(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(raw, &m); err != nil {
		panic(err)
	}
	return m
}

// typed is the object that m is the JSON of, of the same kind as like.
func typed(m map[string]any, like client.Object) client.Object {
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	obj := reflect.New(reflect.TypeOf(like).Elem()).Interface().(client.Object)
	if err := json.Unmarshal(raw, obj); err != nil {
		panic(err)
	}
	return obj
}

// into copies a stored object to where a client wants it.
func into(stored, out client.Object) {
	reflect.ValueOf(out).Elem().Set(reflect.ValueOf(stored.DeepCopyObject()).Elem())
}

func (s *server) get(k key, out client.Object) error {
	stored, ok := s.objects[k]
	if !ok {
		return k.missing()
	}
	into(stored, out)
	return nil
}

// create stores a new object and completes obj with what the server adds.
func (s *server) create(obj client.Object) error {
	k := s.keyOf(obj)
	if _, there := s.objects[k]; there {
		return apierrors.NewAlreadyExists(k.resource(), k.Name)
	}
	if obj.GetResourceVersion() != "" {
		return apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	m := asMap(obj)
	delete(m, "status")
	stored := typed(m, obj)
	s.named++
	stored.SetUID(types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", s.named)))
	stored.SetCreationTimestamp(metav1.NewTime(s.now()).Rfc3339Copy())
	stored.SetDeletionTimestamp(nil)
	stored.SetDeletionGracePeriodSeconds(nil)
	stored.SetGeneration(1)
	s.commit(k, stored)
	into(s.objects[k], obj)
	return nil
}

// part is what of an object a request may change.
type part bool

const (
	body   part = false // all but the status
	status part = true  // nothing else
)

// update replaces a part of an object by that of obj.
func (s *server) update(obj client.Object, p part) error {
	k := s.keyOf(obj)
	current, ok := s.objects[k]
	if !ok {
		return k.missing()
	}
	stored, err := s.put(k, current, asMap(obj), p)
	if err != nil {
		return err
	}
	into(stored, obj)
	return nil
}

// patch merges a patch (RFC 7396) into a part of an object.
func (s *server) patch(obj client.Object, raw []byte, p part) error {
	k := s.keyOf(obj)
	current, ok := s.objects[k]
	if !ok {
		return k.missing()
	}
	var changes map[string]any
	if err := json.Unmarshal(raw, &changes); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	wanted := merge(asMap(current), changes)
	asked := wanted["metadata"].(map[string]any)
	if asked["uid"] != string(current.GetUID()) && asked["resourceVersion"] == current.GetResourceVersion() { // in a patch it is no precondition
		return apierrors.NewInvalid(schema.GroupKind{Kind: k.kind}, k.Name, nil)
	}
	stored, err := s.put(k, current, wanted, p)
	if err != nil {
		return err
	}
	into(stored, obj)
	return nil
}

// merge applies a merge patch to an object.
func merge(to, changes map[string]any) map[string]any {
	for name, value := range changes {
		switch v := value.(type) {
		case nil:
			delete(to, name)
		case map[string]any:
			inner, _ := to[name].(map[string]any)
			if inner == nil {
				inner = map[string]any{}
			}
			to[name] = merge(inner, v)
		default:
			to[name] = v
		}
	}
	return to
}

// put stores what a write makes of an object, when its preconditions hold.
func (s *server) put(k key, current client.Object, wanted map[string]any, p part) (client.Object, error) {
	asked, _ := wanted["metadata"].(map[string]any)
	version, _ := asked["resourceVersion"].(string)
	if version == "" {
		return nil, apierrors.NewInvalid(schema.GroupKind{Kind: k.kind}, k.Name, nil)
	}
	if uid, _ := asked["uid"].(string); uid != "" && uid != string(current.GetUID()) {
		return nil, k.conflict("the UID is %s, not %s", current.GetUID(), uid)
	}
	if version != current.GetResourceVersion() && k.kind != s.forgetful {
		return nil, k.conflict("the object has been modified; please apply your changes to the latest version and try again")
	}
	before := asMap(current)
	next := asMap(current)
	if p == status {
		replace(next, wanted, "status")
	} else {
		for name := range before {
			if name != "status" && name != "metadata" {
				delete(next, name)
			}
		}
		for name := range wanted {
			if name != "status" && name != "metadata" {
				next[name] = wanted[name]
			}
		}
		for _, name := range []string{"labels", "annotations", "finalizers", "ownerReferences"} {
			replace(next["metadata"].(map[string]any), asked, name)
		}
	}
	return s.finish(k, current, before, typed(next, current))
}

func replace(in, from map[string]any, name string) {
	if value, ok := from[name]; ok {
		in[name] = value
		return
	}
	delete(in, name)
}

// finish stores the next state of an object, or lets the object go when nothing
// keeps it any more.
func (s *server) finish(k key, current client.Object, before map[string]any, next client.Object) (client.Object, error) {
	after := asMap(next)
	if reflect.DeepEqual(before, after) {
		return current, nil
	}
	if current.GetDeletionTimestamp() != nil && adds(current.GetFinalizers(), next.GetFinalizers()) {
		return nil, apierrors.NewInvalid(schema.GroupKind{Kind: k.kind}, k.Name, nil) // no new finalizers on what is being deleted
	}
	if specChanged(before, after) {
		next.SetGeneration(current.GetGeneration() + 1)
	}
	if next.GetDeletionTimestamp() != nil && len(next.GetFinalizers()) == 0 && !graceful(next) {
		s.remove(k)
		return next, nil
	}
	s.commit(k, next)
	return s.objects[k], nil
}

func adds(before, after []string) bool {
	known := map[string]bool{}
	for _, f := range before {
		known[f] = true
	}
	for _, f := range after {
		if !known[f] {
			return true
		}
	}
	return false
}

func specChanged(before, after map[string]any) bool {
	for _, m := range []map[string]any{before, after} {
		for name := range m {
			if name != "metadata" && name != "status" && !reflect.DeepEqual(before[name], after[name]) {
				return true
			}
		}
	}
	return false
}

// graceful: a pod that is at work on a node goes when its containers have ended.
func graceful(obj client.Object) bool {
	pod, ok := obj.(*corev1.Pod)
	return ok && pod.Spec.NodeName != "" && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// grace is how long a pod may take to end.
const grace = 30 * time.Second

// delete asks an object to go, when the preconditions hold.
func (s *server) delete(k key, when *metav1.Preconditions) error {
	current, ok := s.objects[k]
	if !ok {
		return k.missing()
	}
	if when != nil {
		if when.UID != nil && *when.UID != current.GetUID() {
			return k.conflict("the UID is %s, not %s", current.GetUID(), *when.UID)
		}
		if when.ResourceVersion != nil && *when.ResourceVersion != current.GetResourceVersion() {
			return k.conflict("the resourceVersion is %s, not %s", current.GetResourceVersion(), *when.ResourceVersion)
		}
	}
	if current.GetDeletionTimestamp() != nil {
		return nil
	}
	if len(current.GetFinalizers()) == 0 && !graceful(current) {
		s.remove(k)
		return nil
	}
	next := current.DeepCopyObject().(client.Object)
	left := int64(0)
	if graceful(current) {
		left = int64(grace / time.Second)
	}
	at := metav1.NewTime(s.now().Add(time.Duration(left) * time.Second)).Rfc3339Copy()
	next.SetDeletionTimestamp(&at)
	next.SetDeletionGracePeriodSeconds(&left)
	next.SetGeneration(current.GetGeneration() + 1)
	s.commit(k, next)
	return nil
}

// commit stores an object under a new version.
func (s *server) commit(k key, next client.Object) {
	s.serial++
	next.SetResourceVersion(strconv.Itoa(s.serial))
	before := s.objects[k]
	s.objects[k] = next
	s.history = append(s.history, change{k, next})
	s.changed(s.by, before, next)
}

func (s *server) remove(k key) {
	s.serial++
	before := s.objects[k]
	delete(s.objects, k)
	s.history = append(s.history, change{k, nil})
	s.changed(s.by, before, nil)
}

// edit changes any part of an object at once, as whoever owns it does. An object
// that is not there stays away.
func edit[T client.Object](s *server, by string, obj T, change func(T)) {
	s.by = by
	k := s.keyOf(obj)
	current, ok := s.objects[k]
	if !ok {
		return
	}
	next := current.DeepCopyObject().(T)
	change(next)
	if _, err := s.finish(k, current, asMap(current), typed(asMap(next), current)); err != nil {
		panic(err)
	}
}
