package readiness

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/internal/environment/diagnose"
	"kubernaut.ai/kubernaut/internal/environment/observe"
)

const (
	logLines       = 10
	warnings       = 5
	evidenceWithin = 5 * time.Second
)

// failure is the error for the object, with what can still be seen of it. It is
// collected within a time of its own: the wait's may be over.
func (w *waiter) failure(ctx context.Context, cause string, hopeless bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), evidenceWithin)
	defer cancel()
	f := &Failure{Object: named(w.wanted), Cause: cause, Hopeless: hopeless}
	if w.seen != nil {
		f.Conditions = conditionLines(w.seen)
	}
	seen, err := w.cluster.observe(ctx, w.wanted)
	if found := diagnose.Of(seen).About(named(w.wanted)); err == nil && len(found) > 0 {
		f.found(found)
	} else {
		w.cluster.evidence(ctx, w.wanted, f)
	}
	f.mask(seen.Mask) // without a snapshot: by form
	return f
}

// failed is the error for an object that cannot become ready, for these reasons.
func (w *waiter) failed(found []diagnose.Finding) error {
	f := &Failure{Object: named(w.wanted), Hopeless: true}
	if w.seen != nil {
		f.Conditions = conditionLines(w.seen)
	}
	f.found(found)
	f.mask(diagnose.Mask{}) // the findings are without secrets already
	return f
}

// absent is the error for an object that does not exist.
func (w *waiter) absent(ctx context.Context) error {
	var names []string
	r, err := w.cluster.Resource(w.wanted)
	if err == nil {
		var list *unstructured.UnstructuredList
		if list, err = r.List(ctx, metav1.ListOptions{}); err == nil { // else the hint is lost, the cause is not
			for _, item := range list.Items {
				names = append(names, item.GetName())
			}
		}
	}
	f := &Failure{Object: named(w.wanted), Hopeless: true}
	f.found([]diagnose.Finding{diagnose.Absent(named(w.wanted), names)})
	return f
}

// observe reads the object's namespace; that of the whole cluster is nothing.
func (c *Cluster) observe(ctx context.Context, u *unstructured.Unstructured) (diagnose.Snapshot, error) {
	if u.GetNamespace() == "" {
		return diagnose.Snapshot{}, nil
	}
	return observe.Snapshot(ctx, c.Reader(), observe.Scope{Namespaces: []string{u.GetNamespace()}})
}

// causes diagnoses the object's namespace and returns what concerns the object.
func (c *Cluster) causes(ctx context.Context, u *unstructured.Unstructured) ([]diagnose.Finding, error) {
	seen, err := c.observe(ctx, u)
	if err != nil {
		return nil, err
	}
	return diagnose.Of(seen).About(named(u)), nil
}

// evidence adds pods, warnings and log lines. What cannot be read is left out:
// the cause is known already.
func (c *Cluster) evidence(ctx context.Context, u *unstructured.Unstructured, f *Failure) {
	selector, ok := podsOf(u)
	if !ok {
		return
	}
	pods, err := c.Core.CoreV1().Pods(u.GetNamespace()).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err == nil {
		for i := range pods.Items {
			pod := &pods.Items[i]
			f.Pods = append(f.Pods, diagnose.PodLine(pod))
			if log := c.log(ctx, pod); log != nil {
				f.Log = log
			}
		}
	}
	f.Events = c.warnings(ctx, u)
}

func (c *Cluster) log(ctx context.Context, pod *corev1.Pod) *Log {
	container, previous, found := diagnose.Failing(pod)
	if !found {
		return nil
	}
	tail := int64(logLines)
	in, err := c.Core.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: container, Previous: previous, TailLines: &tail,
	}).Stream(ctx)
	if err != nil {
		return nil
	}
	defer in.Close()
	raw, err := io.ReadAll(io.LimitReader(in, 32<<10))
	if err != nil || len(raw) == 0 {
		return nil
	}
	return &Log{Pod: pod.Name, Container: container, Lines: strings.Split(strings.TrimRight(string(raw), "\n"), "\n")}
}

// warnings are the last ones about the object, its replica sets and its pods.
func (c *Cluster) warnings(ctx context.Context, u *unstructured.Unstructured) []string {
	events, err := c.Core.CoreV1().Events(u.GetNamespace()).List(ctx, metav1.ListOptions{FieldSelector: "type=" + corev1.EventTypeWarning})
	if err != nil {
		return nil
	}
	about := slices.DeleteFunc(events.Items, func(e corev1.Event) bool { return !belongs(e.InvolvedObject.Name, u.GetName()) })
	slices.SortStableFunc(about, func(a, b corev1.Event) int { return cmp.Compare(lastSeen(a).Unix(), lastSeen(b).Unix()) })
	about = about[max(0, len(about)-warnings):]
	lines := make([]string, len(about))
	for i, e := range about {
		times := ""
		if e.Count > 1 {
			times = fmt.Sprintf(" (%d times)", e.Count)
		}
		lines[i] = fmt.Sprintf("%s%s of %s: %s", e.Reason, times, e.InvolvedObject.Name, strings.TrimSpace(e.Message))
	}
	return lines
}

func lastSeen(e corev1.Event) time.Time {
	if e.LastTimestamp.IsZero() {
		return e.EventTime.Time
	}
	return e.LastTimestamp.Time
}

// belongs tells whether a name is the object's or was made from it, as those of
// its pods and replica sets are.
func belongs(name, object string) bool {
	return name == object || strings.HasPrefix(name, object+"-")
}
