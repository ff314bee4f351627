package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// podRules look at a pod as a whole, before its containers; the first that
// finds something decides.
var podRules = []func(*view, *corev1.Pod) []Finding{
	unschedulable,
	evicted,
	missingReferences,
	mountFailed,
}

// podFindings looks at every pod that counts. Containers have rules of their own.
func podFindings(v *view) []Finding {
	var all []Finding
	for _, p := range v.pods {
		if !v.looked(p.Namespace) || !v.current(p) || p.Status.Phase == corev1.PodSucceeded {
			continue
		}
		all = append(all, v.podFindings(p)...)
	}
	return all
}

func (v *view) podFindings(p *corev1.Pod) []Finding {
	for _, rule := range podRules {
		if found := rule(v, p); len(found) > 0 {
			return found
		}
	}
	var all []Finding
	for _, c := range containersOf(v, p) {
		for _, rule := range containerRules {
			if f, ok := rule(c); ok {
				all = append(all, f)
				break
			}
		}
	}
	return all
}

// of completes a finding that was made from a pod.
func (v *view) of(p *corev1.Pod, f Finding) Finding {
	if f.Object == (plan.Object{}) {
		f.Object = v.workload(p)
	}
	f.explains = append(f.explains, v.around(p)...)
	return f
}

// statuses are the containers' states, those that run first first.
func statuses(p *corev1.Pod) []corev1.ContainerStatus {
	return append(slices.Clone(p.Status.InitContainerStatuses), p.Status.ContainerStatuses...)
}

// evicted is a pod that the node put out, because it lacks something itself.
func evicted(v *view, p *corev1.Pod) []Finding {
	if p.Status.Reason != "Evicted" {
		return nil
	}
	node := plan.Object{Kind: "Node", Name: p.Spec.NodeName}
	f := Finding{
		Code: DiskFull, Hopeless: true, merge: "evicted",
		Sentence: fmt.Sprintf("pods of %s are evicted from node %s: %s", v.workload(p), node.Name, strings.TrimSpace(p.Status.Message)),
		Evidence: []Evidence{{From: "status of Pod " + p.Name, Text: "Evicted: " + strings.TrimSpace(p.Status.Message)}},
		Next:     []string{"kubectl describe node " + node.Name},
	}
	if !strings.Contains(p.Status.Message, "the node was low on resource") && !strings.Contains(p.Status.Message, "The node was low on resource") {
		f.Sentence = fmt.Sprintf("pod %s was evicted: %s", p.Name, strings.TrimSpace(p.Status.Message)) // it took more than it may
	} else {
		f.blames = []plan.Object{node}
	}
	if h, ok := v.lastEvent(podObject(p), func(h happening) bool { return h.reason == "Evicted" }); ok {
		f.Visible = h.first
	}
	return []Finding{v.of(p, f)}
}

// mountFailed is a volume that cannot be mounted though what it comes from exists.
func mountFailed(v *view, p *corev1.Pod) []Finding {
	if len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting == nil {
		return nil
	}
	h, ok := v.lastEvent(podObject(p), func(h happening) bool {
		return h.reason == "FailedMount" || h.reason == "FailedCreatePodSandBox" || h.reason == "FailedAttachVolume"
	})
	passing := []string{"object \"", "failed to sync", "timed out waiting for the condition"} // the kubelet has not read it yet
	if !ok || h.count < 2 || slices.ContainsFunc(passing, func(s string) bool { return strings.Contains(h.message, s) }) {
		return nil
	}
	f := Finding{
		Code: MountFailed, Visible: h.first,
		Sentence: fmt.Sprintf("pod %s cannot be set up: %s", p.Name, h.message),
		Evidence: []Evidence{h.evidence(podObject(p))},
		Next:     []string{kubectl(p.Namespace, "describe pod "+p.Name)},
	}
	if about := tlsOrDisk(h.message); about != "" {
		f.Code = about
	}
	return []Finding{v.of(p, f)}
}

// missingReferences names what the pod refers to and what does not exist, once
// the kubelet shows that it waits for something.
func missingReferences(v *view, p *corev1.Pod) []Finding {
	proof, ok := v.waitsForReference(p)
	if !ok {
		return nil
	}
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(p)
	if err != nil {
		return nil // a pod that was decoded can be encoded
	}
	u := &unstructured.Unstructured{Object: raw}
	u.SetAPIVersion("v1")
	u.SetKind("Pod")
	var all []Finding
	for _, f := range v.missing(u, v.workload(p)) {
		f.Evidence, f.Visible = append(f.Evidence, proof), proof.At
		all = append(all, v.of(p, f))
	}
	return all
}

// waitsForReference finds what shows that the kubelet misses something.
func (v *view) waitsForReference(p *corev1.Pod) (Evidence, bool) {
	for _, c := range statuses(p) {
		if w := c.State.Waiting; w != nil && w.Reason == "CreateContainerConfigError" {
			at := p.CreationTimestamp.Time
			if h, ok := v.lastEvent(podObject(p), func(h happening) bool { return h.reason == "Failed" && strings.Contains(h.message, w.Message) }); ok {
				at = h.first
			}
			return Evidence{From: "container " + c.Name + " of Pod " + p.Name, Text: w.Reason + ": " + w.Message, At: at}, true
		}
	}
	if p.Status.Phase != corev1.PodPending {
		return Evidence{}, false
	}
	h, ok := v.lastEvent(podObject(p), func(h happening) bool { return h.reason == "FailedMount" || h.reason == "FailedScheduling" })
	return h.evidence(podObject(p)), ok
}

// referenced are the kinds a pod refers to, which must exist before it starts.
var referenced = []string{"Secret", "ConfigMap", "ServiceAccount", "PersistentVolumeClaim"}

// missing says which objects a workload refers to do not exist, or lack the key
// it asks for. What the cluster adds to each namespace by itself is only late.
func (v *view) missing(workload *unstructured.Unstructured, by plan.Object) []Finding {
	needs, err := derive.Needs(workload)
	if err != nil {
		return nil // it is there, so the API server could read it
	}
	implied := derive.Implied(workload.GetNamespace())
	pull := pullSecrets(workload)
	var all []Finding
	told := map[plan.Object]bool{}
	for _, n := range needs {
		if n.Optional || !slices.Contains(referenced, n.Of.Kind) || slices.Contains(implied, n.Of) || !v.readable(n.Of.Kind) || pull[n.Of.Name] && n.Of.Kind == "Secret" {
			continue
		}
		if f, absent := v.absent(n.Of, by); absent && !told[f.Object] {
			told[f.Object] = true
			all = append(all, f)
		}
	}
	return all
}

// pullSecrets are not needed by a pod to start: without one it is anonymous.
func pullSecrets(workload *unstructured.Unstructured) map[string]bool {
	names := map[string]bool{}
	for _, path := range [][]string{{"spec", "imagePullSecrets"}, {"spec", "template", "spec", "imagePullSecrets"}} {
		entries, _, _ := unstructured.NestedSlice(workload.Object, path...)
		for _, e := range entries {
			if m, ok := e.(map[string]any); ok {
				name, _ := m["name"].(string)
				names[name] = true
			}
		}
	}
	return names
}

func (v *view) absent(o, by plan.Object) (Finding, bool) {
	whole := o.WithKey("")
	found, exists := v.objects[whole]
	command := kubectl(o.Namespace, fmt.Sprintf("describe %s %s", strings.ToLower(o.Kind), o.Name)) // shows keys, and no value of a Secret
	if !exists {
		return Finding{
			Code: ReferenceMissing, Object: whole, Hopeless: true, explains: []plan.Object{by},
			Sentence: fmt.Sprintf("%s refers to %s, which does not exist%s", by, whole, similar(whole, v.names(o.Kind, o.Namespace))),
			Next:     []string{kubectl(o.Namespace, "get "+strings.ToLower(o.Kind))},
		}, true
	}
	provided := derive.Provides(found)
	if o.Key == "" || slices.Contains(provided, o) {
		return Finding{}, false
	}
	var keys []string
	for _, p := range provided {
		if p.Key != "" {
			keys = append(keys, p.Key)
		}
	}
	has := "which is empty"
	if len(keys) > 0 {
		has = "which has no such key; its keys are: " + strings.Join(sorted(keys), ", ")
	}
	return Finding{
		Code: KeyMissing, Object: o, Hopeless: true, explains: []plan.Object{by},
		Sentence: fmt.Sprintf("%s refers to %s, %s", by, o, has), Next: []string{command},
	}, true
}

// PodLine says where a pod stands, in one line.
func PodLine(pod *corev1.Pod) string {
	line := "pod " + pod.Name + ": " + string(pod.Status.Phase)
	if pod.Status.Reason != "" {
		line += " (" + pod.Status.Reason + ")"
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			line += ", not scheduled: " + c.Message
		}
	}
	for _, c := range statuses(pod) {
		if state := containerLine(c); state != "" {
			line += ", container " + c.Name + " " + state
		}
	}
	return line
}

// containerLine tells what keeps a container from being ready, or nothing.
func containerLine(c corev1.ContainerStatus) string {
	switch {
	case c.State.Waiting != nil:
		return strings.TrimSuffix("waits: "+c.State.Waiting.Reason+": "+c.State.Waiting.Message, ": ") + lastEnd(c)
	case c.State.Terminated != nil && c.State.Terminated.ExitCode != 0:
		return fmt.Sprintf("ended with exit code %d (%s)", c.State.Terminated.ExitCode, c.State.Terminated.Reason)
	case c.State.Running != nil && !c.Ready:
		return "runs, and is not ready" + lastEnd(c)
	default:
		return ""
	}
}

func lastEnd(c corev1.ContainerStatus) string {
	t := c.LastTerminationState.Terminated
	if t == nil {
		return ""
	}
	text := fmt.Sprintf(" (exit code %d", t.ExitCode)
	if t.Reason != "" && t.Reason != "Error" {
		text += ", " + t.Reason
	}
	return text + fmt.Sprintf(", %d restarts)", c.RestartCount)
}

// Failing picks the container whose log explains most, and whether it is the
// log of its previous life. found is false when no container ever ran.
func Failing(pod *corev1.Pod) (name string, previous, found bool) {
	for _, c := range statuses(pod) {
		switch {
		case c.State.Terminated != nil && c.State.Terminated.ExitCode != 0:
			return c.Name, false, true
		case c.State.Waiting != nil && c.LastTerminationState.Terminated != nil:
			return c.Name, true, true
		case c.State.Running != nil && !c.Ready:
			return c.Name, false, true
		}
	}
	return "", false, false
}

// Suspicious tells whether the pod's state may be that of one that will never
// be ready, so that it is worth a diagnosis.
func Suspicious(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return true
		}
	}
	return pod.Status.Reason != "" || slices.ContainsFunc(statuses(pod), func(c corev1.ContainerStatus) bool {
		if w := c.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			return true
		}
		t := c.State.Terminated
		return t != nil && t.ExitCode != 0 || c.RestartCount > 0 && !c.Ready
	})
}

func since(t time.Time, p *corev1.Pod) time.Time {
	if t.IsZero() {
		return p.CreationTimestamp.Time
	}
	return t
}
