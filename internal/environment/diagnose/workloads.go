package diagnose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// makers are the kinds that make pods themselves.
var makers = []string{"ReplicaSet", "StatefulSet", "DaemonSet", "Job"}

// workloadFindings looks at workloads whose pods cannot even be created.
func workloadFindings(v *view) []Finding {
	var all []Finding
	for _, kind := range makers {
		for _, u := range v.kind(kind, "") {
			if !v.looked(u.GetNamespace()) || !v.lacksPods(u) {
				continue
			}
			h, ok := v.lastEvent(derive.Of(u), func(h happening) bool { return h.reason == "FailedCreate" })
			if ok {
				all = append(all, v.refusedCreation(u, h)...)
			}
		}
	}
	return all
}

// lacksPods tells whether the maker still has fewer pods than it wants.
func (v *view) lacksPods(u *unstructured.Unstructured) bool {
	switch u.GetKind() {
	case "ReplicaSet":
		r := decode[appsv1.ReplicaSet](u)
		return r.Spec.Replicas == nil || r.Status.Replicas < *r.Spec.Replicas
	case "StatefulSet":
		s := decode[appsv1.StatefulSet](u)
		return s.Spec.Replicas == nil && s.Status.Replicas < 1 || s.Spec.Replicas != nil && s.Status.Replicas < *s.Spec.Replicas
	case "DaemonSet":
		d := decode[appsv1.DaemonSet](u)
		return d.Status.CurrentNumberScheduled < d.Status.DesiredNumberScheduled
	}
	j := decode[batchv1.Job](u)
	return j.Status.Active == 0 && j.Status.Succeeded == 0
}

// top is the last of the object's owners, or itself.
func (v *view) top(u *unstructured.Unstructured) plan.Object {
	chain := v.owners(u.GetNamespace(), u.GetOwnerReferences())
	if len(chain) == 0 {
		return derive.Of(u)
	}
	return chain[len(chain)-1]
}

// refusedCreation tells why the API server does not accept a pod.
func (v *view) refusedCreation(u *unstructured.Unstructured, h happening) []Finding {
	self := derive.Of(u)
	f := Finding{
		Code: AdmissionRefused, Object: v.top(u), Hopeless: true, Visible: h.first,
		Sentence: fmt.Sprintf("the API server refuses the pods of %s: %s", v.top(u), reasonOf(h.message)),
		Evidence: []Evidence{h.evidence(self)},
		Next:     []string{kubectl(self.Namespace, fmt.Sprintf("describe %s %s", strings.ToLower(self.Kind), self.Name))},
		explains: append(v.owners(u.GetNamespace(), u.GetOwnerReferences()), self),
	}
	f.explains = append(f.explains, v.servicesOf(u)...)
	switch {
	case strings.Contains(h.message, "exceeded quota"), strings.Contains(h.message, "failed quota"):
		quota(&f, h.message)
	case strings.Contains(h.message, "failed calling webhook"):
		v.webhookRefused(&f, h.message)
	case strings.Contains(h.message, "is being terminated"):
		f.blames = []plan.Object{{Kind: "Namespace", Name: self.Namespace}}
	case strings.Contains(h.message, "error looking up service account"):
		if found := v.missing(u, v.top(u)); len(found) > 0 {
			for i := range found {
				found[i].Evidence, found[i].Visible = f.Evidence, h.first
				found[i].explains = append(found[i].explains, f.explains...)
			}
			return found
		}
		f.Hopeless = false // that of each namespace comes seconds after it
	case strings.Contains(h.message, "violates PodSecurity"):
	default:
		f.Hopeless = false
	}
	return []Finding{f}
}

// servicesOf are the Services that wait for the pods of a workload.
func (v *view) servicesOf(u *unstructured.Unstructured) []plan.Object {
	made, _, _ := unstructured.NestedStringMap(u.Object, "spec", "template", "metadata", "labels")
	var all []plan.Object
	for _, s := range v.services {
		if s.Namespace == u.GetNamespace() && selects(s, made) {
			all = append(all, serviceObject(s))
		}
	}
	return all
}

// reasonOf is what follows the name of the pod that was not created.
func reasonOf(message string) string {
	if _, after, ok := strings.Cut(message, "is forbidden: "); ok {
		return after
	}
	return strings.TrimPrefix(message, "Error creating: ")
}

var quotaText = regexp.MustCompile(`exceeded quota: ([^,]+), requested: (.+), used: (.+), limited: (.+)$`)

// quota tells how much of what is missing. What exceeds even an unused quota is
// hopeless, else somebody may give something back.
func quota(f *Finding, message string) {
	f.Code = QuotaExceeded
	m := quotaText.FindStringSubmatch(message)
	if m == nil {
		return // a quota that wants limits which the pods do not name: the message says which
	}
	name, asked, used, limit := m[1], amounts(m[2]), amounts(m[3]), amounts(m[4])
	var lacks []string
	f.Hopeless = false
	for _, what := range sorted(amountKeys(asked)) {
		missing := used[what].DeepCopy()
		missing.Add(asked[what])
		missing.Sub(limit[what])
		wanted, most, have := asked[what], limit[what], used[what]
		if missing.Sign() <= 0 {
			continue
		}
		lacks = append(lacks, fmt.Sprintf("%s %s (asked %s, used %s of %s)", missing.String(), what, wanted.String(), have.String(), most.String()))
		f.Hopeless = f.Hopeless || wanted.Cmp(most) > 0
	}
	f.Sentence = fmt.Sprintf("the quota %s in %s leaves no room for the pods of %s: it lacks %s", name, f.Object.Namespace, f.Object, strings.Join(lacks, ", "))
	f.Next = []string{kubectl(f.Object.Namespace, "describe resourcequota "+name)}
}

func amountKeys(m map[string]resource.Quantity) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

// amounts reads "requests.cpu=1,pods=2".
func amounts(text string) map[string]resource.Quantity {
	all := map[string]resource.Quantity{}
	for _, pair := range strings.Split(text, ",") {
		what, amount, _ := strings.Cut(pair, "=")
		if q, err := resource.ParseQuantity(strings.TrimSpace(amount)); err == nil {
			all[strings.TrimSpace(what)] = q
		}
	}
	return all
}

// affected names the workloads that are not ready because of the finding.
func (v *view) affected(f Finding) []string {
	var names []string
	for _, u := range v.unready() {
		o := derive.Of(u)
		if o != f.Object && f.concerns(o) && !slices.Contains(names, o.String()) {
			names = append(names, o.String())
		}
	}
	return names
}

// waiting are the workloads that are not ready for no reason that was found.
func (v *view) waiting(found []Finding) []Waiting {
	var all []Waiting
	for _, u := range v.unready() {
		o := derive.Of(u)
		if slices.ContainsFunc(found, func(f Finding) bool { return f.concerns(o) }) || conditionStatus(u, "Failed") == "True" { // a Job that is over waits for nothing
			continue
		}
		all = append(all, Waiting{o, v.waitsFor(u)})
	}
	return all
}

// unready are the workloads that were looked at and are not what they should be.
func (v *view) unready() []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, u := range v.Objects {
		if v.looked(u.GetNamespace()) && u.GetDeletionTimestamp() == nil && unready(u) {
			all = append(all, u)
		}
	}
	return all
}

func unready(u *unstructured.Unstructured) bool {
	switch u.GetKind() {
	case "Deployment":
		d := decode[appsv1.Deployment](u)
		return d.Status.ObservedGeneration < d.Generation || d.Status.AvailableReplicas < replicas(d.Spec.Replicas) || d.Status.UpdatedReplicas < replicas(d.Spec.Replicas)
	case "StatefulSet":
		s := decode[appsv1.StatefulSet](u)
		return s.Status.ObservedGeneration < s.Generation || s.Status.ReadyReplicas < replicas(s.Spec.Replicas)
	case "DaemonSet":
		d := decode[appsv1.DaemonSet](u)
		return d.Status.NumberAvailable < d.Status.DesiredNumberScheduled
	case "Job":
		return conditionStatus(u, "Complete") != "True"
	case "Pod":
		ready := conditionStatus(u, "Ready") == "True"
		phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
		return metav1.GetControllerOf(u) == nil && !ready && phase != "Succeeded"
	}
	return false
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// waitsFor says where a workload stands, by its pods.
func (v *view) waitsFor(u *unstructured.Unstructured) string {
	o := derive.Of(u)
	var lines []string
	for _, p := range v.pods {
		if p.DeletionTimestamp == nil && slices.Contains(v.around(p), o) {
			lines = append(lines, PodLine(p))
			if h, ok := v.lastEvent(podObject(p), func(h happening) bool { return h.reason == "Unhealthy" }); ok && u.GetKind() != "Job" {
				lines[len(lines)-1] += " (" + h.message + ")"
			}
		}
	}
	if len(lines) == 0 {
		return "its pods are not created yet"
	}
	return strings.Join(lines, "; ")
}
