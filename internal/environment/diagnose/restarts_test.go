package diagnose

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// withState diagnoses the pod whose container is in that state, and wrote these
// lines in this life and in the one before.
func withState(t *testing.T, state string, lines ...string) Diagnosis {
	t.Helper()
	log := Log{Namespace: "shop", Pod: "web-1", Container: "main", Lines: lines}
	before := log
	before.Previous = true
	return Of(Snapshot{
		Taken: time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC), Namespaces: []string{"shop"}, Logs: []Log{log, before},
		Objects: objects(t, strings.Replace(strings.Replace(pod, "restartCount: 3, ", "", 1), "STATE", state, 1)),
	})
}

// A container that ended with its node tells nothing of its program, however
// often, and whatever it wrote last.
func TestAContainerThatEndedWithItsNode(t *testing.T) {
	const lost = `{terminated: {exitCode: 255, reason: Unknown}}`
	for _, state := range []string{
		`restartCount: 3, state: {waiting: {reason: ContainerCreating}}, lastState: ` + lost,
		`restartCount: 3, state: {waiting: {reason: CrashLoopBackOff, message: back-off 40s restarting}}, lastState: ` + lost,
		`restartCount: 3, state: ` + lost,
		`restartCount: 3, state: {terminated: {exitCode: 137, reason: ContainerStatusUnknown}}, lastState: ` + lost,
	} {
		for _, line := range []string{"ready to accept connections", "dial tcp 10.96.0.7:5432: connect: connection refused", "exec format error"} {
			if d := withState(t, state, line); len(d.Findings) != 0 {
				t.Errorf("%s after %q: got\n%s", state, line, d.Text())
			}
		}
	}
	s := Snapshot{
		Namespaces: []string{"shop"}, Objects: objects(t, strings.Replace(pod, "STATE", "state: {running: {}}, lastState: "+lost, 1)),
		Logs: []Log{{Namespace: "shop", Pod: "web-1", Container: "main", Previous: true, Lines: []string{"dial tcp 10.96.0.7:5432: connect: connection refused"}}},
	}
	if d := Of(s); len(d.Findings) != 0 {
		t.Errorf("it runs again, got\n%s", d.Text())
	}
}

// ending is a container that ended twice: the first time at 02:00:00, the second
// time after the pause and the life that are given.
func ending(restarts int, pause, life time.Duration, reason string) string {
	at := time.Date(2026, 11, 25, 2, 0, 0, 0, time.UTC)
	stamp := func(after time.Duration) string { return at.Add(after).Format(time.RFC3339) }
	return fmt.Sprintf(`restartCount: %d, state: {terminated: {exitCode: 1, reason: %s, startedAt: %q, finishedAt: %q}}, lastState: {terminated: {exitCode: 1, reason: %s, startedAt: %q, finishedAt: %q}}`,
		restarts, reason, stamp(pause), stamp(pause+life), reason, stamp(-time.Minute), stamp(0))
}

func TestOnlyEndsInARowAreHopeless(t *testing.T) {
	const backOff = `restartCount: %d, state: {waiting: {reason: CrashLoopBackOff, message: back-off %s restarting failed container=main}}, lastState: {terminated: {exitCode: 1, reason: Error}}`
	const afterNode = `restartCount: 2, state: {terminated: {exitCode: 1, reason: %s}}, lastState: {terminated: {exitCode: 255, reason: Unknown}}`
	for _, c := range []struct {
		why, state string
		hopeless   bool
	}{
		{"the first end after two power cuts", fmt.Sprintf(afterNode, "Error"), false},
		{"killed for its memory after two power cuts", fmt.Sprintf(afterNode, "OOMKilled"), false},
		{"two restarts weeks ago", ending(2, 10*time.Second, 14*24*time.Hour, "Error"), false},
		{"two kills weeks ago", ending(2, 10*time.Second, 14*24*time.Hour, "OOMKilled"), false},
		{"the second end", ending(1, time.Second, time.Second, "Error"), false},
		{"the second kill", ending(1, time.Second, time.Second, "OOMKilled"), true},
		{"a slow second start", ending(1, 30*time.Second, time.Second, "Error"), false},
		{"the third end", ending(2, 10*time.Second, time.Second, "Error"), true},
		{"the first pause", fmt.Sprintf(backOff, 2, "10s"), false},
		{"the second pause", fmt.Sprintf(backOff, 2, "20s"), true},
		{"a long pause", fmt.Sprintf(backOff, 40, "5m0s"), true},
	} {
		d := withState(t, c.state, "reading settings")
		if len(d.Findings) != 1 || d.Findings[0].Hopeless != c.hopeless {
			t.Errorf("%s: want one cause, hopeless %v; got\n%s", c.why, c.hopeless, d.Text())
		}
	}
}

func TestOnlyKillsOfLateAreHopeless(t *testing.T) {
	const killed = `
{apiVersion: v1, kind: Pod, metadata: {name: web-1, namespace: shop}, spec: {containers: [{name: main, image: web, livenessProbe: {tcpSocket: {port: 1}}}]}, status: {phase: Running, containerStatuses: [{name: main, image: web, ready: false, restartCount: 7, state: {running: {}}}]}}
---
{apiVersion: v1, kind: Event, metadata: {name: e, namespace: shop}, reason: Killing, message: "Container main failed liveness probe, will be restarted", count: COUNT, firstTimestamp: FIRST, lastTimestamp: "2026-11-25T02:59:00Z", involvedObject: {kind: Pod, namespace: shop, name: web-1}}`
	for _, c := range []struct {
		count, first string
		hopeless     bool
	}{
		{"2", `"2026-11-25T02:58:00Z"`, false},
		{"3", `"2026-11-25T02:58:00Z"`, true},
		{"5", `"2026-11-25T02:57:00Z"`, true},
		{"3", `"2026-11-11T02:58:00Z"`, false},
	} {
		text := strings.NewReplacer("COUNT", c.count, "FIRST", c.first).Replace(killed)
		d := Of(Snapshot{Taken: time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC), Namespaces: []string{"shop"}, Objects: objects(t, text)})
		if len(d.Findings) != 1 || d.Findings[0].Code != LivenessKills || d.Findings[0].Hopeless != c.hopeless {
			t.Errorf("%s kills since %s: want hopeless %v, got\n%s", c.count, c.first, c.hopeless, d.Text())
		}
		if want := time.Date(2026, 11, 25, 2, 58, 0, 0, time.UTC); c.count == "5" && !d.Findings[0].Visible.Equal(want) {
			t.Errorf("the third kill decides, not that of %s", d.Findings[0].Visible)
		}
	}
}
