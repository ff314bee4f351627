// Package forget takes back what an API server still says of pods that ended with
// their node: that they are ready, or lead. It would be believed until the kubelet
// and the controllers have looked.
package forget

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// claim is a kind whose objects say that something on a node is ready or leads, and
// where they say it.
type claim struct {
	resource    schema.GroupVersionResource
	subresource []string
	forget      func(object map[string]any) (changed bool)
}

var (
	ofNodes = claim{schema.GroupVersionResource{Version: "v1", Resource: "nodes"}, []string{"status"}, forgetHeartbeat}
	ofPods  = []claim{
		{schema.GroupVersionResource{Version: "v1", Resource: "pods"}, []string{"status"}, forgetReady},
		{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}, []string{"status"}, forgetReady},
		{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, []string{"status"}, forgetReady},
		{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}, []string{"status"}, forgetReady},
		{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, []string{"status"}, forgetReady},
		{schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}, nil, forgetEndpoints},
		{schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}, nil, forgetLeader},
	}
)

// NodeAndPods is for before the kubelet and the controllers are started; they then
// say what is true.
func NodeAndPods(ctx context.Context, client dynamic.Interface) error {
	return takeBack(ctx, client, append([]claim{ofNodes}, ofPods...))
}

// Pods is for when the kubelet may run already: it says again what is true of a pod
// within seconds, and of the node only after minutes.
func Pods(ctx context.Context, client dynamic.Interface) error {
	return takeBack(ctx, client, ofPods)
}

// takeBack takes back every claim. One that is refused, by a webhook for example,
// keeps no other.
func takeBack(ctx context.Context, client dynamic.Interface, claims []claim) error {
	var errs []error
	for _, claim := range claims {
		objects, err := client.Resource(claim.resource).List(ctx, metav1.ListOptions{})
		if err != nil {
			errs = append(errs, fmt.Errorf("listing %s: %w", claim.resource.Resource, err))
			continue
		}
		for i := range objects.Items {
			o := &objects.Items[i]
			if !claim.forget(o.Object) {
				continue
			}
			_, err := client.Resource(claim.resource).Namespace(o.GetNamespace()).Update(ctx, o, metav1.UpdateOptions{}, claim.subresource...)
			// Who has just written has looked and knows.
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				errs = append(errs, fmt.Errorf("taking back what %s %s/%s says: %w", claim.resource.Resource, o.GetNamespace(), o.GetName(), err))
			}
		}
	}
	return errors.Join(errs...)
}

// forgetReady: nothing is ready or available.
func forgetReady(object map[string]any) (changed bool) {
	status, _ := object["status"].(map[string]any)
	for _, count := range []string{"readyReplicas", "availableReplicas", "numberReady", "numberAvailable"} {
		if n, _ := status[count].(int64); n > 0 {
			status[count], changed = int64(0), true
		}
	}
	for _, c := range maps(status["conditions"]) {
		if c["status"] == "True" && slices.Contains([]any{"Ready", "ContainersReady", "Available"}, c["type"]) {
			c["status"], c["reason"], changed = "False", "NodeStopped", true
			delete(c, "message")
		}
	}
	for _, c := range maps(status["containerStatuses"]) {
		if c["ready"] == true {
			c["ready"], changed = false, true
		}
	}
	for _, c := range maps(status["initContainerStatuses"]) {
		state, _ := c["state"].(map[string]any)
		if c["ready"] == true && state["terminated"] == nil { // what has done its work has done it
			c["ready"], changed = false, true
		}
	}
	return changed
}

// forgetHeartbeat: no kubelet has said yet that the node is ready. The condition
// itself stays, or pods would be kept off the node for a while.
func forgetHeartbeat(object map[string]any) (changed bool) {
	status, _ := object["status"].(map[string]any)
	for _, c := range maps(status["conditions"]) {
		if c["type"] == "Ready" {
			c["lastHeartbeatTime"], changed = nil, true
		}
	}
	return changed
}

// forgetEndpoints: no pod serves.
func forgetEndpoints(object map[string]any) (changed bool) {
	for _, e := range maps(object["endpoints"]) {
		target, _ := e["targetRef"].(map[string]any)
		conditions, _ := e["conditions"].(map[string]any)
		if target["kind"] == "Pod" && conditions["ready"] != false {
			e["conditions"], changed = map[string]any{"ready": false, "serving": false}, true
		}
	}
	return changed
}

// forgetLeader: no pod leads, so that the next does not wait until the last one's
// time is over; with Tekton's resolvers that is a minute in which runs fail. Leases
// of the cluster itself say who lives.
func forgetLeader(object map[string]any) (changed bool) {
	namespace, _, _ := unstructured.NestedString(object, "metadata", "namespace")
	holder, _, _ := unstructured.NestedString(object, "spec", "holderIdentity")
	if holder == "" || strings.HasPrefix(namespace, "kube-") {
		return false
	}
	object["spec"].(map[string]any)["holderIdentity"] = ""
	return true
}

// maps are the objects of a list, to be changed in place.
func maps(list any) []map[string]any {
	all, _ := list.([]any)
	var found []map[string]any
	for _, item := range all {
		if m, ok := item.(map[string]any); ok {
			found = append(found, m)
		}
	}
	return found
}
