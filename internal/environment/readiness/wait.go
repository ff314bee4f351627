package readiness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"kubernaut.ai/kubernaut/internal/environment/diagnose"
)

// Wait returns when every object is ready. The objects are those just applied:
// one that was replaced since, by another of its name, is an error. An object
// without a UID is meant by its name and must exist. say is told what is
// missing. The error is a *Failure, or that of ctx when it was cancelled; when
// ctx's deadline passes, the Failure says what was still missing.
func (c *Cluster) Wait(ctx context.Context, objects []*unstructured.Unstructured, say func(note string)) error {
	group, inner := errgroup.WithContext(ctx)
	for _, u := range objects {
		if v, err := judge(u); err == nil && v.ready && u.GetUID() != "" {
			continue
		}
		group.Go(func() error {
			w := waiter{cluster: c, wanted: u, say: say, judge: judge}
			return w.wait(inner)
		})
	}
	return group.Wait()
}

// WaitToAppear waits until objects of these names exist: those that somebody
// else makes in time, like a namespace's default service account.
func (c *Cluster) WaitToAppear(ctx context.Context, objects []*unstructured.Unstructured, say func(note string)) error {
	group, inner := errgroup.WithContext(ctx)
	for _, u := range objects {
		group.Go(func() error {
			w := waiter{cluster: c, wanted: u, say: say, judge: judge, appears: true}
			return w.wait(inner)
		})
	}
	return group.Wait()
}

// WaitUntil waits until missing has nothing to say about the object, which is
// meant by its name and must exist.
func (c *Cluster) WaitUntil(ctx context.Context, u *unstructured.Unstructured, missing func(*unstructured.Unstructured) string, say func(note string)) error {
	w := waiter{cluster: c, wanted: u, say: say, judge: func(u *unstructured.Unstructured) (verdict, error) {
		lacks := missing(u)
		return verdict{ready: lacks == "", message: lacks}, nil
	}}
	return w.wait(ctx)
}

// waiter waits for one object.
type waiter struct {
	cluster *Cluster
	wanted  *unstructured.Unstructured
	say     func(string)
	judge   func(*unstructured.Unstructured) (verdict, error)
	appears bool                       // it may not exist yet
	seen    *unstructured.Unstructured // as it was last seen
	message string                     // what it lacks
	looked  time.Time                  // when its namespace was last diagnosed
	again   <-chan time.Time           // when it is to be diagnosed next; nil: not before something changes
}

// lookEvery keeps diagnoses of one object apart: what changes in between is
// looked at together.
const lookEvery = time.Second

var (
	podKind   = schema.GroupVersionKind{Version: "v1", Kind: "Pod"}
	eventKind = schema.GroupVersionKind{Version: "v1", Kind: "Event"}
)

func (w *waiter) wait(ctx context.Context) error {
	streams, inner := errgroup.WithContext(ctx)
	inner, stop := context.WithCancel(inner)
	defer stop()
	changes := make(chan change)
	for kind, selected := range w.watched() {
		r, err := w.cluster.resource(kind, w.wanted.GetNamespace())
		if err != nil {
			return err
		}
		streams.Go(func() error { return stream(inner, r, selected, changes) })
	}
	err := w.follow(inner, changes)
	stop()
	broken := streams.Wait()
	switch {
	case !ended(err):
		return err
	case ctx.Err() == nil && !ended(broken):
		return fmt.Errorf("watching %s: %w", named(w.wanted), broken)
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	}
	return w.late(ctx)
}

// ended tells whether an error only says that a context has ended.
func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// late is the failure of an object that was not ready in time.
func (w *waiter) late(ctx context.Context) error {
	cause := "not ready in time: " + w.message
	if w.seen == nil {
		cause = "it was not even seen in time"
	}
	return w.failure(ctx, cause, false)
}

// watched is what is looked at: the object, and for a workload its pods and
// the warnings of its namespace.
func (w *waiter) watched() map[schema.GroupVersionKind]metav1.ListOptions {
	watched := map[schema.GroupVersionKind]metav1.ListOptions{
		w.wanted.GroupVersionKind(): {FieldSelector: "metadata.name=" + w.wanted.GetName()},
	}
	if selector, ok := podsOf(w.wanted); ok {
		watched[podKind] = metav1.ListOptions{LabelSelector: selector}
		watched[eventKind] = metav1.ListOptions{FieldSelector: "type=" + corev1.EventTypeWarning}
	}
	return watched
}

// podsOf is the label selector of a workload's pods.
func podsOf(u *unstructured.Unstructured) (string, bool) {
	if u.GetKind() == "Job" {
		return "batch.kubernetes.io/job-name=" + u.GetName(), true
	}
	match, ok, _ := unstructured.NestedStringMap(u.Object, "spec", "selector", "matchLabels")
	return labels.SelectorFromSet(match).String(), ok
}

// follow looks at each change until the object is ready or has failed.
func (w *waiter) follow(ctx context.Context, changes <-chan change) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-changes:
			done, err := w.look(ctx, c)
			if done || err != nil {
				return err
			}
		case <-w.again:
			if err := w.diagnose(ctx); err != nil {
				return err
			}
		}
	}
}

// look takes one change in. A bookmark says that a stream's list was empty.
func (w *waiter) look(ctx context.Context, c change) (done bool, err error) {
	switch {
	case c.object == nil:
		return false, w.lookAtNothing(ctx)
	case c.object.GetKind() == "Event" && w.wanted.GetKind() != "Event":
		return false, w.lookAtWarning(ctx, c.object)
	case c.object.GetKind() == "Pod" && w.wanted.GetKind() != "Pod":
		return false, w.lookAtPod(ctx, c)
	default:
		return w.lookAtObject(ctx, c)
	}
}

func (w *waiter) lookAtNothing(ctx context.Context) error {
	if w.seen != nil {
		return nil
	}
	if w.appears {
		w.tell("it does not exist yet")
		return nil
	}
	r, err := w.cluster.Resource(w.wanted)
	if err != nil {
		return err
	}
	_, err = r.Get(ctx, w.wanted.GetName(), metav1.GetOptions{})
	if err == nil {
		return nil // it was the list of pods or events that was empty
	}
	if !apierrors.IsNotFound(err) {
		return err
	}
	return w.absent(ctx)
}

func (w *waiter) lookAtObject(ctx context.Context, c change) (bool, error) {
	u := c.object
	switch {
	case c.kind == watch.Deleted && sameObject(w.wanted, u.GetUID()):
		return false, w.failure(ctx, "it was deleted while it was waited for", true)
	case c.kind == watch.Deleted:
		return false, nil
	case !sameObject(w.wanted, u.GetUID()):
		return false, w.failure(ctx, "it was replaced by another object of its name while it was waited for", true)
	}
	w.seen = u
	v, err := w.judge(u)
	switch {
	case err != nil:
		return false, err
	case v.failed:
		return false, w.failure(ctx, v.message, true)
	}
	w.tell(v.message)
	return v.ready, nil
}

func sameObject(wanted *unstructured.Unstructured, uid types.UID) bool {
	return wanted.GetUID() == "" || wanted.GetUID() == uid
}

func (w *waiter) lookAtPod(ctx context.Context, c change) error {
	var pod corev1.Pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(c.object.Object, &pod); err != nil {
		return fmt.Errorf("reading pod %s: %w", c.object.GetName(), err)
	}
	if c.kind == watch.Deleted || pod.DeletionTimestamp != nil {
		return nil
	}
	if diagnose.Suspicious(&pod) {
		return w.diagnose(ctx)
	}
	if line := diagnose.PodLine(&pod); w.seen != nil {
		w.tell(line)
	}
	return nil
}

// lookAtWarning takes a warning about the workload or its pods for a hint that
// something may be wrong for good, and looks whether that is so.
func (w *waiter) lookAtWarning(ctx context.Context, event *unstructured.Unstructured) error {
	about, _, _ := unstructured.NestedString(event.Object, "involvedObject", "name")
	if !belongs(about, w.wanted.GetName()) {
		return nil
	}
	message, _, _ := unstructured.NestedString(event.Object, "message")
	w.tell(message)
	return w.diagnose(ctx)
}

// diagnose ends the wait when the object's namespace shows that it will not
// become ready, and else says what it waits for.
func (w *waiter) diagnose(ctx context.Context) error {
	if wait := lookEvery - time.Since(w.looked); wait > 0 {
		if w.again == nil {
			w.again = time.After(wait)
		}
		return nil
	}
	w.looked, w.again = time.Now(), nil
	found, err := w.cluster.causes(ctx, w.wanted)
	if err != nil || len(found) == 0 {
		return err
	}
	if slices.ContainsFunc(found, func(f diagnose.Finding) bool { return f.Hopeless }) {
		return w.failed(found)
	}
	w.tell(found[0].Sentence)
	return nil
}

// tell says what is missing, without what looks like a secret: it goes to the
// terminal and into the journal.
func (w *waiter) tell(message string) {
	message = diagnose.Mask{}.Text(message)
	w.message = message
	w.say(w.wanted.GetKind() + " " + w.wanted.GetName() + ": " + message)
}
