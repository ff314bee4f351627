package diagnose

import (
	"strings"
	"testing"
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
