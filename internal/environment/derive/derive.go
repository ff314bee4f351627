// Package derive reads what Kubernetes objects provide and need, so that
// nobody has to write it down a second time.
//
//	[]unstructured ──► Provides, Needs ──► plan.Step
//
// It is pure: it knows objects, not clusters.
package derive

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// LocalHost is the registry host of images that exist only on nodes they were
// loaded into. Their tag is their content, known when they are made; a plan
// speaks of them without it.
const LocalHost = "kubernaut.local"

// Of names a Kubernetes object.
func Of(u *unstructured.Unstructured) plan.Object {
	return plan.Object{Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}
}

// Image names a container image.
func Image(reference string) plan.Object {
	if strings.HasPrefix(reference, LocalHost+"/") {
		reference, _, _ = strings.Cut(reference, ":")
	}
	return plan.Object{Kind: "Image", Name: reference}
}

// Namespace names a namespace.
func Namespace(name string) plan.Object { return plan.Object{Kind: "Namespace", Name: name} }

// API names a kind that the API server serves, built in or by a CRD.
func API(gk schema.GroupKind) plan.Object { return plan.Object{Kind: "API", Name: gk.String()} }

const (
	defaultAccount = "default"
	rootCA         = "kube-root-ca.crt"
)

// Implied is what the cluster makes by itself in every namespace, seconds after it.
func Implied(namespace string) []plan.Object {
	return []plan.Object{
		{Kind: "ServiceAccount", Namespace: namespace, Name: defaultAccount},
		{Kind: "ConfigMap", Namespace: namespace, Name: rootCA},
		{Kind: "ConfigMap", Namespace: namespace, Name: rootCA, Key: "ca.crt"},
	}
}

// Given is what every cluster has from its start: a fixed list.
func Given() []plan.Object {
	var given []plan.Object
	for _, namespace := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
		given = append(given, Namespace(namespace))
		given = append(given, Implied(namespace)...)
	}
	for _, role := range []string{"cluster-admin", "admin", "edit", "view", "system:auth-delegator", "system:discovery", "system:basic-user", "system:public-info-viewer"} {
		given = append(given, plan.Object{Kind: "ClusterRole", Name: role})
	}
	for _, class := range []string{"system-cluster-critical", "system-node-critical"} {
		given = append(given, plan.Object{Kind: "PriorityClass", Name: class})
	}
	return append(given,
		plan.Object{Kind: "Role", Namespace: "kube-system", Name: "extension-apiserver-authentication-reader"},
		plan.Object{Kind: "ConfigMap", Namespace: "kube-system", Name: "extension-apiserver-authentication"},
	)
}

// Provides lists what is there once the objects are applied and ready. What the
// cluster adds to a new namespace is among it: whoever applies a namespace waits for that too.
func Provides(objects ...*unstructured.Unstructured) []plan.Object {
	var provided []plan.Object
	for _, u := range objects {
		self := Of(u)
		provided = append(provided, self)
		switch u.GroupVersionKind().GroupKind() {
		case schema.GroupKind{Kind: "Namespace"}:
			provided = append(provided, Implied(u.GetName())...)
		case schema.GroupKind{Kind: "ConfigMap"}, schema.GroupKind{Kind: "Secret"}:
			provided = append(provided, keys(self, u)...)
		case schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:
			group, _, _ := unstructured.NestedString(u.Object, "spec", "group")
			kind, _, _ := unstructured.NestedString(u.Object, "spec", "names", "kind")
			provided = append(provided, API(schema.GroupKind{Group: group, Kind: kind}))
		}
	}
	return provided
}

func keys(self plan.Object, u *unstructured.Unstructured) []plan.Object {
	var found []plan.Object
	seen := map[string]bool{}
	for _, field := range []string{"data", "binaryData", "stringData"} {
		entries, _, _ := unstructured.NestedMap(u.Object, field)
		for key := range entries {
			if !seen[key] {
				seen[key] = true
				found = append(found, self.WithKey(key))
			}
		}
	}
	return found
}

// builtIn are the API groups that every cluster serves by itself.
var builtIn = map[string]bool{
	"": true, "admissionregistration.k8s.io": true, "apiextensions.k8s.io": true, "apiregistration.k8s.io": true, "apps": true,
	"autoscaling": true, "batch": true, "certificates.k8s.io": true, "coordination.k8s.io": true, "discovery.k8s.io": true,
	"events.k8s.io": true, "flowcontrol.apiserver.k8s.io": true, "networking.k8s.io": true, "node.k8s.io": true, "policy": true,
	"rbac.authorization.k8s.io": true, "resource.k8s.io": true, "scheduling.k8s.io": true, "storage.k8s.io": true,
}
