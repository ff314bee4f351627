package readiness

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
	w.cluster.evidence(ctx, w.wanted, f)
	return f
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
			f.Pods = append(f.Pods, podLine(pod))
			if log := c.log(ctx, pod); log != nil {
				f.Log = log
			}
		}
	}
	f.Events = c.warnings(ctx, u)
}

func (c *Cluster) log(ctx context.Context, pod *corev1.Pod) *Log {
	container, previous, found := failing(pod)
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

const revision = "deployment.kubernetes.io/revision"

// ofCurrentRevision tells whether the pod was made from the workload as it is
// now: the crashes of an older revision say nothing about the new one.
func (c *Cluster) ofCurrentRevision(ctx context.Context, workload *unstructured.Unstructured, pod *corev1.Pod) (bool, error) {
	apps := c.Core.AppsV1()
	switch workload.GetKind() {
	case "Deployment":
		owner := metav1.GetControllerOf(pod)
		if owner == nil {
			return false, nil
		}
		set, err := apps.ReplicaSets(pod.Namespace).Get(ctx, owner.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		d, err := apps.Deployments(pod.Namespace).Get(ctx, workload.GetName(), metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return d.Status.ObservedGeneration >= d.Generation && set.Annotations[revision] == d.Annotations[revision], nil
	case "StatefulSet":
		s, err := apps.StatefulSets(pod.Namespace).Get(ctx, workload.GetName(), metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return s.Status.ObservedGeneration >= s.Generation && pod.Labels[appsv1.StatefulSetRevisionLabel] == s.Status.UpdateRevision, nil
	default:
		return true, nil
	}
}
