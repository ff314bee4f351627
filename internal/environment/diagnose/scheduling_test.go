package diagnose

import (
	"strings"
	"testing"
)

// Of nodes that could not be read nothing is said, and nobody gives up.
func TestNodesThatCouldNotBeRead(t *testing.T) {
	const pending = `{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}, spec: {nodeSelector: {disk: fast}, containers: [{name: main, image: x}]}, status: {phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/3 nodes are available: MESSAGE."}]}}`
	for message, code := range map[string]Code{
		"3 Insufficient cpu": UnschedulableRoom,
		"3 node(s) didn't match Pod's node affinity/selector": UnschedulableSelector,
		"3 node(s) had untolerated taint(s)":                  UnschedulableTaint,
	} {
		s := Snapshot{Namespaces: []string{"shop"}, Objects: objects(t, strings.Replace(pending, "MESSAGE", message, 1))}
		if d := Of(s); len(d.Findings) != 1 || d.Findings[0].Code != code {
			t.Errorf("%s: want %s, got\n%s", message, code, d.Text())
		}
		s.Unreadable = []string{"Node"}
		d := Of(s)
		if len(d.Findings) != 1 || d.Findings[0].Code != Unschedulable || d.Findings[0].Hopeless || !strings.Contains(d.Findings[0].Sentence, message) {
			t.Errorf("%s: want what the scheduler says, got\n%s", message, d.Text())
		}
	}
}
