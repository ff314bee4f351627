package diagnose

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// serviceFindings finds Services that cannot have endpoints: their selector
// matches no pod and nothing that makes pods, or their port is no port of those.
func serviceFindings(v *view) []Finding {
	var all []Finding
	for _, s := range v.services {
		if !v.looked(s.Namespace) || len(s.Spec.Selector) == 0 || s.DeletionTimestamp != nil {
			continue
		}
		matched := v.podsOf(s)
		if len(matched) == 0 {
			if v.templateFor(s) || !v.readable("Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob") {
				continue
			}
			all = append(all, Finding{
				Code: ServiceSelectsNothing, Object: serviceObject(s), Hopeless: true, idle: true, Visible: s.CreationTimestamp.Time,
				Sentence: fmt.Sprintf("the selector %s of %s matches no pod and no workload%s", written(s.Spec.Selector), serviceObject(s), v.nearest(s)),
				Evidence: []Evidence{{From: serviceObject(s).String(), Text: "selector " + written(s.Spec.Selector)}},
				Next:     []string{kubectl(s.Namespace, "get pods --show-labels"), kubectl(s.Namespace, "get service "+s.Name+" -o jsonpath='{.spec.selector}'")},
				blames:   v.absentMakers(s.Namespace),
			})
			continue
		}
		all = append(all, namelessPorts(s, matched)...)
	}
	return all
}

func (v *view) podsOf(s *corev1.Service) []*corev1.Pod {
	var matched []*corev1.Pod
	for _, p := range v.pods {
		if p.Namespace == s.Namespace && selects(s, p.Labels) {
			matched = append(matched, p)
		}
	}
	return matched
}

// templateFor tells whether something makes, or will make, pods for the Service.
func (v *view) templateFor(s *corev1.Service) bool {
	return slices.ContainsFunc(v.templates(s.Namespace), func(t template) bool { return selects(s, t.labels) })
}

// template is what pods of a workload will be like.
type template struct {
	of     plan.Object
	labels map[string]string
}

func (v *view) templates(namespace string) []template {
	var all []template
	for _, kind := range []string{"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob"} {
		path := []string{"spec", "template", "metadata", "labels"}
		if kind == "CronJob" {
			path = append([]string{"spec", "jobTemplate"}, path...)
		}
		for _, u := range v.kind(kind, namespace) {
			made, _, _ := unstructured.NestedStringMap(u.Object, path...)
			all = append(all, template{derive.Of(u), made})
		}
	}
	for _, p := range v.pods {
		if p.Namespace == namespace && len(p.OwnerReferences) == 0 {
			all = append(all, template{podObject(p), p.Labels})
		}
	}
	return all
}

func written(labels map[string]string) string {
	var all []string
	for k, val := range labels {
		all = append(all, k+"="+val)
	}
	return strings.Join(sorted(all), ",")
}

// nearest names the workload whose labels are most like the selector.
func (v *view) nearest(s *corev1.Service) string {
	want, best, least := written(s.Spec.Selector), "", -1
	for _, t := range v.templates(s.Namespace) {
		relevant := map[string]string{}
		for k := range s.Spec.Selector {
			if val, ok := t.labels[k]; ok {
				relevant[k] = val
			}
		}
		if len(relevant) == 0 {
			relevant = t.labels
		}
		if d := distance(want, written(relevant)); least < 0 || d < least {
			best, least = fmt.Sprintf("; the pods of %s have %s", t.of, written(relevant)), d
		}
	}
	return best
}

// namelessPorts are target ports by a name that no container has.
func namelessPorts(s *corev1.Service, pods []*corev1.Pod) []Finding {
	var all []Finding
	for _, port := range s.Spec.Ports {
		if port.TargetPort.Type != intstr.String {
			continue
		}
		var names []string
		for _, c := range pods[0].Spec.Containers {
			for _, d := range c.Ports {
				names = append(names, d.Name)
			}
		}
		if !slices.Contains(names, port.TargetPort.StrVal) {
			all = append(all, Finding{
				Code: ServicePort, Object: serviceObject(s), Hopeless: true, Visible: s.CreationTimestamp.Time,
				Sentence: fmt.Sprintf("%s leads to port %q, which no container of its pods has (they have %s)", serviceObject(s), port.TargetPort.StrVal, strings.Join(names, ", ")),
				Evidence: []Evidence{{From: serviceObject(s).String(), Text: "targetPort " + port.TargetPort.StrVal}},
				Next:     []string{kubectl(s.Namespace, "get service "+s.Name+" -o yaml")},
			})
		}
	}
	return all
}

// served tells whether any ready endpoint stands behind the Service.
func (v *view) served(o plan.Object) bool {
	for _, e := range v.endpoints {
		if e.Namespace != o.Namespace || e.Labels["kubernetes.io/service-name"] != o.Name {
			continue
		}
		for _, one := range e.Endpoints {
			if one.Conditions.Ready == nil || *one.Conditions.Ready {
				return true
			}
		}
	}
	return false
}

// claimFindings finds claims that get no volume.
func claimFindings(v *view) []Finding {
	var all []Finding
	for _, u := range v.kind("PersistentVolumeClaim", "") {
		c := decode[corev1.PersistentVolumeClaim](u)
		if !v.looked(c.Namespace) || c.Status.Phase != corev1.ClaimPending || c.DeletionTimestamp != nil {
			continue
		}
		self := derive.Of(u)
		h, ok := v.lastEvent(self, func(h happening) bool { return h.reason == "ProvisioningFailed" || h.reason == "FailedBinding" })
		if !ok {
			continue
		}
		f := Finding{
			Code: ClaimUnbound, Object: self, Visible: h.first,
			Sentence: fmt.Sprintf("%s gets no volume: %s", self, h.message),
			Evidence: []Evidence{h.evidence(self)},
			Next:     []string{kubectl(c.Namespace, "describe pvc "+c.Name), "kubectl get storageclass,pv"},
		}
		v.whyUnbound(c, &f)
		for _, p := range v.pods {
			if p.Namespace == c.Namespace && slices.Contains(claimsOf(p), self) {
				f.explains = append(f.explains, v.around(p)...)
			}
		}
		all = append(all, f)
	}
	return all
}

func (v *view) whyUnbound(c *corev1.PersistentVolumeClaim, f *Finding) {
	asked := c.Spec.Resources.Requests[corev1.ResourceStorage]
	class := ""
	if c.Spec.StorageClassName != nil {
		class = *c.Spec.StorageClassName
	}
	o := plan.Object{Kind: "StorageClass", Name: class}
	known, exists := v.objects[o]
	switch {
	case class != "" && !exists && v.readable("StorageClass"):
		f.Hopeless = true
		f.Sentence = fmt.Sprintf("%s gets no volume: its StorageClass %q does not exist%s", f.Object, class, similar(o, v.names("StorageClass", "")))
		return
	case class != "" && exists && decode[storagev1.StorageClass](known).Provisioner != "kubernetes.io/no-provisioner":
		return
	}
	text := fmt.Sprintf("%s gets no volume: no provisioner makes one", f.Object)
	if class == "" {
		text = fmt.Sprintf("%s gets no volume: it names no StorageClass and there is no default one", f.Object)
	}
	var free []string
	for _, u := range v.kind("PersistentVolume", "") {
		pv := decode[corev1.PersistentVolume](u)
		size := pv.Spec.Capacity[corev1.ResourceStorage]
		if pv.Status.Phase == corev1.VolumeAvailable && pv.Spec.StorageClassName == class {
			free = append(free, fmt.Sprintf("%s (%s)", pv.Name, size.String()))
		}
	}
	if len(free) == 0 {
		f.Sentence = fmt.Sprintf("%s, and no free volume is there (asked %s)", text, asked.String())
		return
	}
	f.Sentence = fmt.Sprintf("%s, and no free volume fits (asked %s %v; free are %s)", text, asked.String(), c.Spec.AccessModes, strings.Join(free, ", "))
}
