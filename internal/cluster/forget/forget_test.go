package forget

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"
)

func TestForget(t *testing.T) {
	for _, c := range []struct {
		name         string
		forget       func(map[string]any) bool
		before, want string
	}{
		{
			"a pod", forgetReady,
			`{"status":{"phase":"Running","conditions":[{"type":"PodScheduled","status":"True"},{"type":"Ready","status":"True","message":"m"}],"containerStatuses":[{"name":"a","ready":true,"restartCount":2}]}}`,
			`{"status":{"phase":"Running","conditions":[{"type":"PodScheduled","status":"True"},{"type":"Ready","status":"False","reason":"NodeStopped"}],"containerStatuses":[{"name":"a","ready":false,"restartCount":2}]}}`,
		},
		{
			"a Deployment", forgetReady,
			`{"status":{"replicas":2,"readyReplicas":2,"availableReplicas":1,"conditions":[{"type":"Progressing","status":"True"},{"type":"Available","status":"True"}]}}`,
			`{"status":{"replicas":2,"readyReplicas":0,"availableReplicas":0,"conditions":[{"type":"Progressing","status":"True"},{"type":"Available","status":"False","reason":"NodeStopped"}]}}`,
		},
		{
			"a pod with a sidecar and one that has prepared it", forgetReady,
			`{"status":{"initContainerStatuses":[{"name":"sidecar","ready":true,"state":{"running":{}}},{"name":"done","ready":true,"state":{"terminated":{"exitCode":0}}}]}}`,
			`{"status":{"initContainerStatuses":[{"name":"sidecar","ready":false,"state":{"running":{}}},{"name":"done","ready":true,"state":{"terminated":{"exitCode":0}}}]}}`,
		},
		{"a DaemonSet", forgetReady, `{"status":{"numberReady":1,"numberAvailable":1}}`, `{"status":{"numberReady":0,"numberAvailable":0}}`},
		{"a pod that has ended", forgetReady, `{"status":{"conditions":[{"type":"Ready","status":"False","reason":"PodCompleted"}]}}`, ""},
		{"a set of nothing", forgetReady, `{"status":{"replicas":0}}`, ""},
		{
			"the node", forgetHeartbeat,
			`{"status":{"conditions":[{"type":"DiskPressure","lastHeartbeatTime":"t"},{"type":"Ready","status":"True","lastHeartbeatTime":"t"}]}}`,
			`{"status":{"conditions":[{"type":"DiskPressure","lastHeartbeatTime":"t"},{"type":"Ready","status":"True","lastHeartbeatTime":null}]}}`,
		},
		{
			"endpoints", forgetEndpoints,
			`{"endpoints":[{"targetRef":{"kind":"Pod"},"conditions":{"ready":true,"serving":true}},{"addresses":["10.0.0.1"],"conditions":{"ready":true}}]}`,
			`{"endpoints":[{"targetRef":{"kind":"Pod"},"conditions":{"ready":false,"serving":false}},{"addresses":["10.0.0.1"],"conditions":{"ready":true}}]}`,
		},
		{
			"who leads", forgetLeader,
			`{"metadata":{"namespace":"tekton-pipelines"},"spec":{"holderIdentity":"a","leaseDurationSeconds":60}}`,
			`{"metadata":{"namespace":"tekton-pipelines"},"spec":{"holderIdentity":"","leaseDurationSeconds":60}}`,
		},
		{"that nobody leads", forgetLeader, `{"metadata":{"namespace":"default"},"spec":{}}`, ""},
		{"the node's own lease", forgetLeader, `{"metadata":{"namespace":"kube-node-lease"},"spec":{"holderIdentity":"node"}}`, ""},
		{"the API server's own endpoint", forgetEndpoints, `{"endpoints":[{"addresses":["10.20.0.1"],"conditions":{"ready":true}}]}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var object, want map[string]any
			if err := json.Unmarshal([]byte(c.before), &object); err != nil {
				t.Fatal(err)
			}
			changed := c.forget(object)
			if changed != (c.want != "") {
				t.Fatalf("changed: %t", changed)
			}
			if !changed {
				return
			}
			if err := json.Unmarshal([]byte(c.want), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, object); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestOneRefusalKeepsNoOtherClaim has a webhook of the user refuse what pods say.
func TestOneRefusalKeepsNoOtherClaim(t *testing.T) {
	named := metav1.ObjectMeta{Namespace: "default", Name: "web"}
	client := fake.NewSimpleDynamicClient(
		scheme.Scheme,
		&corev1.Pod{ObjectMeta: named, Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}},
		&appsv1.ReplicaSet{ObjectMeta: named, Status: appsv1.ReplicaSetStatus{Replicas: 1, ReadyReplicas: 1}},
	)
	client.PrependReactor("update", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("no webhook answers")
	})
	err := Pods(t.Context(), client)
	if err == nil || !strings.Contains(err.Error(), "pods default/web says: no webhook answers") {
		t.Errorf("got %v", err)
	}
	set, err := client.Resource(appsv1.SchemeGroupVersion.WithResource("replicasets")).Namespace("default").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if ready, _, _ := unstructured.NestedInt64(set.Object, "status", "readyReplicas"); ready != 0 {
		t.Errorf("the ReplicaSet still says that %d are ready", ready)
	}
}
