package diagnose

import (
	"strings"
	"testing"
	"time"
)

// A status or a word of the registry counts, the same digits elsewhere do not.
func TestWhyAnImageCannotBePulled(t *testing.T) {
	const waiting = `{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}, spec: {containers: [{name: main, image: registry.example/web}]}, status: {phase: Pending, containerStatuses: [{name: main, image: x, ready: false, state: {waiting: {reason: ErrImagePull, message: MESSAGE}}}]}}`
	for message, want := range map[string]Code{
		`unexpected status from HEAD request: 401 Unauthorized`:                ImageNoLogin,
		`failed to authorize: status: 403`:                                     ImageNoLogin,
		`denied: requested access to the resource is denied`:                   ImageNoLogin,
		`pull access denied, repository does not exist`:                        ImageNoLogin,
		`received unexpected HTTP status: 503 Service Unavailable`:             RegistryDown,
		`layer sha256:9a401 403f: not found`:                                   ImageAbsent,
		`node-401 cannot unpack it: not found`:                                 ImageAbsent,
		`mkdir /var/lib/containerd/1503 : permission denied`:                   ImagePullFailed,
		`copied 1500 bytes of sha256:0401 and then stopped`:                    ImagePullFailed,
		`failed to resolve: dial tcp 10.0.0.403:5000: connect: host is silent`: ImagePullFailed,
	} {
		d := Of(Snapshot{Namespaces: []string{"shop"}, Objects: objects(t, strings.Replace(waiting, "MESSAGE", "'"+message+"'", 1))})
		if len(d.Findings) != 1 || d.Findings[0].Code != want {
			t.Errorf("%s: want %s, got\n%s", message, want, d.Text())
		}
	}
}

// A registry that does not answer may be starting: hopeless is what the kubelet waits
// with, and what decides is when that began, or that it is seen.
func TestARegistryThatDoesNotAnswerYet(t *testing.T) {
	const waiting = `{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}, spec: {containers: [{name: main, image: registry.example/web}]}, status: {phase: Pending, containerStatuses: [{name: main, image: x, ready: false, state: {waiting: {reason: REASON, message: "dial tcp 10.0.0.9:443: connect: connection refused"}}}]}}`
	const event = `{apiVersion: v1, kind: Event, metadata: {name: REASON, namespace: shop}, involvedObject: {kind: Pod, name: web, namespace: shop}, reason: REASON, message: 'MESSAGE', count: 1, firstTimestamp: "TIME", lastTimestamp: "TIME"}`
	at := func(reason, message, time string) string {
		return "\n---\n" + strings.NewReplacer("REASON", reason, "MESSAGE", message, "TIME", time).Replace(event)
	}
	taken := time.Date(2026, 11, 25, 3, 0, 30, 0, time.UTC)
	failed := at("Failed", `Failed to pull image "registry.example/web": dial tcp 10.0.0.9:443: connect: connection refused`, "2026-11-25T03:00:00Z")
	for _, c := range []struct {
		state, events string
		hopeless      bool
		visible       time.Time
	}{
		{"ErrImagePull", failed, false, taken.Add(-30 * time.Second)},
		{"ImagePullBackOff", failed, true, taken},
		{"ImagePullBackOff", failed + at("BackOff", `Back-off pulling image "registry.example/web"`, "2026-11-25T03:00:16Z"), true, taken.Add(-14 * time.Second)},
	} {
		d := Of(Snapshot{Taken: taken, Namespaces: []string{"shop"}, Objects: objects(t, strings.Replace(waiting, "REASON", c.state, 1)+c.events)})
		if len(d.Findings) != 1 {
			t.Fatalf("%s: got\n%s", c.state, d.Text())
		}
		if f := d.Findings[0]; f.Code != RegistryDown || f.Hopeless != c.hopeless || !f.Visible.Equal(c.visible) {
			t.Errorf("%s: %s, hopeless %t, visible %s; want %t, %s", c.state, f.Code, f.Hopeless, f.Visible, c.hopeless, c.visible)
		}
	}
}

func TestWhyABundleCannotBeResolved(t *testing.T) {
	const run = `{apiVersion: tekton.dev/v1, kind: PipelineRun, metadata: {name: remedy, namespace: shop}, status: {conditions: [{type: Succeeded, status: "False", reason: CouldntGetPipeline, message: MESSAGE}]}}`
	for message, want := range map[string]Code{
		`GET https://registry/v2/: UNAUTHORIZED: authentication required`: BundleUnauthorized,
		`GET https://registry/v2/: unexpected status code 403 Forbidden`:  BundleUnauthorized,
		`GET https://registry/v2/: unexpected status code 404 Not Found`:  BundleAbsent,
		`bundle@sha256:1403a401 of run remedy-403-401 is no bundle`:       BundleUnresolved,
	} {
		d := Of(Snapshot{Namespaces: []string{"shop"}, Objects: objects(t, strings.Replace(run, "MESSAGE", "'"+message+"'", 1))})
		if len(d.Findings) != 1 || d.Findings[0].Code != want {
			t.Errorf("%s: want %s, got\n%s", message, want, d.Text())
		}
	}
}
