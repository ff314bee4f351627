package diagnose

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

func TestEventsOfBothKindsAreRead(t *testing.T) {
	v := newView(Snapshot{Objects: objects(t, `{apiVersion: v1, kind: Event, metadata: {name: a, namespace: shop}, reason: FailedScheduling, eventTime: "2026-11-25T03:00:00.000000Z", series: {count: 4, lastObservedTime: "2026-11-25T03:01:00.000000Z"}, involvedObject: {kind: Pod, namespace: shop, name: web}}`)})
	all := v.events[plan.Object{Kind: "Pod", Namespace: "shop", Name: "web"}]
	at := metav1.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC).Time
	if len(all) != 1 || all[0].count != 4 || !all[0].first.Equal(at) || !all[0].last.Equal(at.Add(time.Minute)) {
		t.Errorf("got %+v", all)
	}
}

// A pod that was made again has the name of the one before, and not its troubles.
func TestEventsOfAnObjectThatIsGone(t *testing.T) {
	const mounted = `
{apiVersion: v1, kind: Pod, metadata: {name: db-0, namespace: shop, uid: new, annotations: {kubernetes.io/config.mirror: mirror}}, spec: {containers: [{name: main, image: x}]}, status: {phase: Pending}}
---
{apiVersion: v1, kind: Event, metadata: {name: e, namespace: shop}, reason: FailedMount, message: "no such device", count: 3, involvedObject: {kind: Pod, namespace: shop, name: db-0, uid: UID}}`
	for uid, want := range map[string]int{"old": 0, "new": 1, `""`: 1, "mirror": 1} {
		d := Of(Snapshot{Namespaces: []string{"shop"}, Objects: objects(t, strings.Replace(mounted, "UID", uid, 1))})
		if len(d.Findings) != want {
			t.Errorf("an event about uid %s: want %d causes, got\n%s", uid, want, d.Text())
		}
	}
}

// What a probe says of one container is no trouble of the one beside it.
func TestEventsOfTheContainerBeside(t *testing.T) {
	const two = `
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}, spec: {containers: [{name: main, image: x, PROBE}, {name: beside, image: x, PROBE}]}, status: {phase: Running, containerStatuses: [{name: main, ready: false, state: {running: {}}}, {name: beside, ready: false, state: {running: {}}}]}}
---
{apiVersion: v1, kind: Event, metadata: {name: e, namespace: shop}, reason: Unhealthy, message: "Readiness probe failed: HTTP probe failed with statuscode: 404", count: 3, involvedObject: {kind: Pod, namespace: shop, name: web, fieldPath: "spec.containers{beside}"}}`
	text := strings.ReplaceAll(two, "PROBE", "readinessProbe: {httpGet: {path: /ready, port: 80}}")
	d := Of(Snapshot{Namespaces: []string{"shop"}, Objects: objects(t, text)})
	if len(d.Findings) != 1 || d.Findings[0].Code != ProbePath || !strings.Contains(d.Findings[0].Sentence, "of container beside") {
		t.Errorf("want the path of one container alone, got\n%s", d.Text())
	}
}
