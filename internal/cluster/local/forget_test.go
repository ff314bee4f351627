package local

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/json"
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
