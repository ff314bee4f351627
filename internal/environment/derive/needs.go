package derive

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// Needs lists what must be there before the objects can be applied and become
// ready. An error says which object cannot be read.
func Needs(objects ...*unstructured.Unstructured) ([]plan.Need, error) {
	var all []plan.Need
	for _, u := range objects {
		r := reader{self: Of(u), object: u}
		if err := r.read(); err != nil {
			return nil, fmt.Errorf("%s: %w", r.self, err)
		}
		all = append(all, r.needs...)
	}
	return all, nil
}

// digested ends with the digest of something.
var digested = regexp.MustCompile(`-[0-9a-f]{8,}$`)

// Unchangeable refuses Jobs that would be in their own way: one cannot be
// changed, so its name must carry the digest of what it runs.
func Unchangeable(objects ...*unstructured.Unstructured) error {
	var errs []error
	for _, u := range objects {
		if u.GroupVersionKind().GroupKind() == (schema.GroupKind{Group: "batch", Kind: "Job"}) && !digested.MatchString(u.GetName()) {
			errs = append(errs, fmt.Errorf("%s: a Job cannot be changed, so its name must end with the digest of its content", Of(u)))
		}
	}
	return errors.Join(errs...)
}

// reader collects the needs of one object.
type reader struct {
	self   plan.Object
	object *unstructured.Unstructured
	needs  []plan.Need
}

func (r *reader) need(of plan.Object) { r.needs = append(r.needs, plan.Need{By: r.self, Of: of}) }

// local needs something in the object's own namespace.
func (r *reader) local(kind, name string) {
	r.need(plan.Object{Kind: kind, Namespace: r.self.Namespace, Name: name})
}

func (r *reader) read() error {
	gvk := r.object.GroupVersionKind()
	if r.self.Namespace != "" {
		r.need(Namespace(r.self.Namespace))
	}
	if !builtIn[gvk.Group] {
		r.need(API(gvk.GroupKind()))
	}
	if path, ok := podSpecs[gvk.GroupKind()]; ok {
		if err := r.pod(path); err != nil {
			return err
		}
	}
	if read, ok := references[gvk.GroupKind()]; ok {
		read(r)
	}
	return nil
}

// podSpecs is where each kind of workload keeps the description of its pods.
var podSpecs = map[schema.GroupKind][]string{
	{Kind: "Pod"}:                        {"spec"},
	{Group: "apps", Kind: "Deployment"}:  {"spec", "template", "spec"},
	{Group: "apps", Kind: "StatefulSet"}: {"spec", "template", "spec"},
	{Group: "apps", Kind: "DaemonSet"}:   {"spec", "template", "spec"},
	{Group: "apps", Kind: "ReplicaSet"}:  {"spec", "template", "spec"},
	{Group: "batch", Kind: "Job"}:        {"spec", "template", "spec"},
	{Group: "batch", Kind: "CronJob"}:    {"spec", "jobTemplate", "spec", "template", "spec"},
}

// references are the kinds that name other objects outside of a pod.
var references = map[schema.GroupKind]func(*reader){
	{Kind: "ServiceAccount"}:                                                          (*reader).serviceAccount,
	{Kind: "PersistentVolumeClaim"}:                                                   func(r *reader) { r.claim(r.object.Object) },
	{Group: "apps", Kind: "StatefulSet"}:                                              (*reader).claimTemplates,
	{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"}:                         (*reader).roleRef,
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"}:                  (*reader).roleRef,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}:     (*reader).webhooks,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"}:   (*reader).webhooks,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicyBinding"}:   func(r *reader) { r.policy("MutatingAdmissionPolicy") },
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicyBinding"}: func(r *reader) { r.policy("ValidatingAdmissionPolicy") },
	{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}:                           (*reader).scaleTarget,
	{Group: "apiregistration.k8s.io", Kind: "APIService"}:                             func(r *reader) { r.service("spec", "service") },
}

func (r *reader) text(path ...string) string {
	value, _, _ := unstructured.NestedString(r.object.Object, path...)
	return value
}

func (r *reader) serviceAccount() {
	for _, entry := range list(r.object.Object, "imagePullSecrets") {
		name, _, _ := unstructured.NestedString(entry, "name")
		r.local("Secret", name)
	}
}

func (r *reader) roleRef() {
	if kind := r.text("roleRef", "kind"); kind == "Role" {
		r.local(kind, r.text("roleRef", "name"))
	} else {
		r.need(plan.Object{Kind: kind, Name: r.text("roleRef", "name")})
	}
}

func (r *reader) webhooks() {
	for _, hook := range list(r.object.Object, "webhooks") {
		namespace, _, _ := unstructured.NestedString(hook, "clientConfig", "service", "namespace")
		if name, ok, _ := unstructured.NestedString(hook, "clientConfig", "service", "name"); ok {
			r.need(plan.Object{Kind: "Service", Namespace: namespace, Name: name})
		}
	}
}

func (r *reader) service(path ...string) {
	if name := r.text(append(path, "name")...); name != "" {
		r.need(plan.Object{Kind: "Service", Namespace: r.text(append(path, "namespace")...), Name: name})
	}
}

func (r *reader) policy(kind string) {
	r.need(plan.Object{Kind: kind, Name: r.text("spec", "policyName")})
}

func (r *reader) scaleTarget() {
	r.local(r.text("spec", "scaleTargetRef", "kind"), r.text("spec", "scaleTargetRef", "name"))
}

func (r *reader) claimTemplates() {
	for _, template := range list(r.object.Object, "spec", "volumeClaimTemplates") {
		r.claim(template)
	}
}

// DefaultStorageClass stands for the class that a claim gets which names none.
var DefaultStorageClass = plan.Object{Kind: "StorageClass", Name: "(default)"}

func (r *reader) claim(claim map[string]any) {
	volume, _, _ := unstructured.NestedString(claim, "spec", "volumeName")
	class, named, _ := unstructured.NestedString(claim, "spec", "storageClassName")
	switch {
	case volume != "":
		r.need(plan.Object{Kind: "PersistentVolume", Name: volume})
	case !named:
		r.need(DefaultStorageClass)
	case class != "":
		r.need(plan.Object{Kind: "StorageClass", Name: class})
	}
}

// list returns the maps of a list; entries of another shape are left out.
func list(object map[string]any, path ...string) []map[string]any {
	entries, _, _ := unstructured.NestedSlice(object, path...)
	var maps []map[string]any
	for _, e := range entries {
		if m, ok := e.(map[string]any); ok {
			maps = append(maps, m)
		}
	}
	return maps
}

func (r *reader) pod(path []string) error {
	raw, ok, err := unstructured.NestedMap(r.object.Object, path...)
	if err != nil {
		return fmt.Errorf("reading its pod description: %w", err)
	}
	if !ok {
		return fmt.Errorf("it has no pod description at %s", strings.Join(path, "."))
	}
	var spec corev1.PodSpec
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &spec); err != nil {
		return fmt.Errorf("reading its pod description: %w", err)
	}
	r.podSpec(spec)
	return nil
}
