package diagnose

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// unschedulable is a pod for which no node is good enough: it tells what each
// lacks, and how much.
func unschedulable(v *view, p *corev1.Pod) []Finding {
	message, seen := "", corev1.PodCondition{}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			message, seen = c.Message, c
		}
	}
	if message == "" || strings.Contains(message, "not found") { // a claim that does not exist: see missingReferences
		return nil
	}
	f := Finding{
		Code: Unschedulable, Visible: seen.LastTransitionTime.Time, merge: "",
		Sentence: fmt.Sprintf("no node takes the pods of %s: %s", v.workload(p), message),
		Evidence: []Evidence{{From: "condition PodScheduled of Pod " + p.Name, Text: message, At: seen.LastTransitionTime.Time}},
		Next:     []string{kubectl(p.Namespace, "describe pod "+p.Name), "kubectl describe nodes"},
	}
	switch {
	case strings.Contains(message, "PersistentVolumeClaim"):
		f.blames = claimsOf(p)
	case strings.Contains(message, "free ports"):
		f.Code = PortInUse
		f.Sentence = fmt.Sprintf("pods of %s want host port %s, which another pod of the node has", v.workload(p), hostPorts(p))
	case !v.readable("Node"): // what they have is not known: what the scheduler says is all
	case strings.Contains(message, "Insufficient"):
		f.Code = UnschedulableRoom
		v.room(p, &f)
	case strings.Contains(message, "didn't match Pod's node affinity/selector"):
		f.Code, f.Hopeless = UnschedulableSelector, true
		v.selector(p, &f)
	case strings.Contains(message, "taint"):
		f.Code = UnschedulableTaint
		v.taints(p, &f)
	}
	return []Finding{v.of(p, f)}
}

func claimsOf(p *corev1.Pod) []plan.Object {
	var all []plan.Object
	for _, vol := range p.Spec.Volumes {
		if vol.PersistentVolumeClaim != nil {
			all = append(all, plan.Object{Kind: "PersistentVolumeClaim", Namespace: p.Namespace, Name: vol.PersistentVolumeClaim.ClaimName})
		}
	}
	return all
}

func hostPorts(p *corev1.Pod) string {
	var all []string
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			if port.HostPort != 0 {
				all = append(all, fmt.Sprint(port.HostPort))
			}
		}
	}
	return strings.Join(all, ", ")
}

// room tells for each node how much of what is missing. A pod that would not
// even fit on an empty node is hopeless.
func (v *view) room(p *corev1.Pod, f *Finding) {
	var lacks []string
	f.Hopeless = true
	for _, n := range v.nodes {
		missing, never := v.lacking(p, n)
		lacks = append(lacks, missing...)
		f.Hopeless = f.Hopeless && never
	}
	if len(lacks) > 0 {
		f.Sentence = fmt.Sprintf("no node has room for the pods of %s: %s", v.workload(p), strings.Join(lacks, "; "))
	}
}

// lacking lists what the node lacks for the pod; never says that it would lack
// it also without any other pod.
func (v *view) lacking(p *corev1.Pod, n *corev1.Node) (lacks []string, never bool) {
	wanted := Requests(p)
	for _, name := range slices.Sorted(keysOf(wanted)) {
		asked := wanted[name]
		capacity := n.Status.Allocatable[name]
		taken := v.Requested[n.Name][name]
		free := capacity.DeepCopy()
		free.Sub(taken)
		if asked.Cmp(free) <= 0 {
			continue
		}
		missing := asked.DeepCopy()
		missing.Sub(free)
		lacks = append(lacks, fmt.Sprintf("node %s lacks %s %s (asked %s, free %s of %s)", n.Name, amount(missing), name, amount(asked), amount(free), amount(capacity)))
		never = never || asked.Cmp(capacity) > 0
	}
	return lacks, never
}

// amount writes a quantity as people would: 1.59, 23.4Gi.
func amount(q resource.Quantity) string {
	value, unit := q.AsApproximateFloat64(), ""
	for _, u := range []string{"Ki", "Mi", "Gi", "Ti"} {
		if q.Format != resource.BinarySI || value < 1024 {
			break
		}
		value, unit = value/1024, u
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", value), "0"), ".") + unit
}

func keysOf(list corev1.ResourceList) func(func(corev1.ResourceName) bool) {
	return func(yield func(corev1.ResourceName) bool) {
		for name := range list {
			if !yield(name) {
				return
			}
		}
	}
}

// Requests is what the scheduler sets aside for a pod: the sum of its
// containers, or what its largest init container takes if that is more.
func Requests(p *corev1.Pod) corev1.ResourceList {
	sum := corev1.ResourceList{}
	for _, c := range p.Spec.Containers {
		Add(sum, c.Resources.Requests)
	}
	for _, c := range p.Spec.InitContainers {
		for name, asked := range c.Resources.Requests {
			if have := sum[name]; asked.Cmp(have) > 0 {
				sum[name] = asked.DeepCopy()
			}
		}
	}
	Add(sum, p.Spec.Overhead)
	return sum
}

// Add adds what is in more to sum.
func Add(sum, more corev1.ResourceList) {
	for name, q := range more {
		have := sum[name]
		if have.IsZero() {
			have = resource.Quantity{Format: q.Format}
		}
		have.Add(q)
		sum[name] = have
	}
}

// selector tells which labels no node has.
func (v *view) selector(p *corev1.Pod, f *Finding) {
	var lacks []string
	for _, key := range sorted(labelKeys(p.Spec.NodeSelector)) {
		value := p.Spec.NodeSelector[key]
		fits := func(n *corev1.Node) bool { return labels.Set(n.Labels).Get(key) == value }
		if !slices.ContainsFunc(v.nodes, fits) {
			lacks = append(lacks, fmt.Sprintf("label %s=%s%s", key, value, v.valuesOf(key)))
		}
	}
	if len(lacks) > 0 {
		f.Sentence = fmt.Sprintf("no node has what the pods of %s select: %s", v.workload(p), strings.Join(lacks, ", "))
	} else {
		f.Sentence = fmt.Sprintf("no node matches the node affinity of the pods of %s", v.workload(p))
	}
	f.Next = []string{"kubectl get nodes --show-labels"}
}

func labelKeys(m map[string]string) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	return keys
}

func (v *view) valuesOf(key string) string {
	var values []string
	for _, n := range v.nodes {
		if value, ok := n.Labels[key]; ok {
			values = append(values, value)
		}
	}
	if len(values) == 0 {
		return " (no node has such a label)"
	}
	return " (nodes have " + strings.Join(values, ", ") + ")"
}

// taints tells which taints the pod does not tolerate. Those that the node sets
// itself while something is wrong with it are consequences of that.
func (v *view) taints(p *corev1.Pod, f *Finding) {
	var found []string
	f.Hopeless = true
	for _, n := range v.nodes {
		for _, t := range n.Spec.Taints {
			if t.Effect == corev1.TaintEffectPreferNoSchedule || tolerates(p, t) {
				continue
			}
			found = append(found, fmt.Sprintf("node %s has taint %s", n.Name, t.ToString()))
			if strings.Contains(t.Key, "kubernetes.io/") { // a controller's, which may take it away
				f.Hopeless = false
				f.blames = append(f.blames, plan.Object{Kind: "Node", Name: n.Name})
			}
		}
	}
	if len(found) > 0 {
		f.Sentence = fmt.Sprintf("the pods of %s do not tolerate the taints of the nodes: %s", v.workload(p), strings.Join(found, "; "))
	}
	f.Next = []string{"kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints"}
}

func tolerates(p *corev1.Pod, t corev1.Taint) bool {
	return slices.ContainsFunc(p.Spec.Tolerations, func(tol corev1.Toleration) bool {
		if tol.Effect != "" && tol.Effect != t.Effect {
			return false
		}
		if tol.Operator == corev1.TolerationOpExists {
			return tol.Key == "" || tol.Key == t.Key
		}
		return tol.Key == t.Key && tol.Value == t.Value
	})
}
