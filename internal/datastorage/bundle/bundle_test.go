package bundle_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/bundle"
	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
	"kubernaut.ai/kubernaut/internal/image"
	"kubernaut.ai/kubernaut/internal/registry"
	"kubernaut.ai/kubernaut/test/servers"
)

const pipeline = `apiVersion: tekton.dev/v1
kind: Pipeline
metadata: {name: workflow}
spec:
  params:
    - name: TARGET_RESOURCE
    - {name: LIMIT, default: 5}
    - {name: HOSTS, type: array}
`

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stand is a registry with a reader that knows its authority and its password.
type stand struct {
	*servers.Registry
	t      *testing.T
	reader *bundle.Reader
}

func newStand(t *testing.T) *stand {
	t.Helper()
	r := servers.StartRegistry(t)
	s := &stand{Registry: r, t: t, reader: &bundle.Reader{
		CAFile: written(t, string(r.CA)), Patience: 10 * time.Second,
		LoginFile: written(t, `{"auths":{"`+r.Host()+`":{"username":"pusher","password":"secret"}}}`),
		Options:   func(o registry.Options) registry.Options { o.Dial = r.Dial; return o },
	}}
	return s
}

func written(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte(content), 0o600))
	return file
}

// push sends an image and returns its digest.
func (s *stand) push(name string, img v1.Image) string {
	s.t.Helper()
	digest, err := registry.Push(s.t.Context(), s.Host()+"/workflows/"+name, img, registry.Options{
		Dial: s.Dial, CA: s.CA, Credentials: registry.Credentials{Username: s.Username, Password: s.Password},
	})
	must(s.t, err)
	return digest.String()
}

func (s *stand) bundle(name string, objects ...string) string {
	s.t.Helper()
	var raw [][]byte
	for _, o := range objects {
		raw = append(raw, []byte(o))
	}
	img, err := image.Bundle(raw...)
	must(s.t, err)
	return s.push(name, img)
}

func TestReader(t *testing.T) {
	s := newStand(t)
	const task = "apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: build}\n"
	digest := s.bundle("good:1", pipeline)
	other := s.bundle("good:2", pipeline, task)
	s.bundle("task:1", task)
	s.bundle("broken:1", "apiVersion: tekton.dev/v1\nkind: Pipeline\nmetadata: {name: workflow}\nspec: {params: 5}\n")
	s.bundle("huge:1", pipeline+"# "+strings.Repeat("x", 1<<20))
	plain, err := random.Image(64, 1)
	must(t, err)
	plainDigest := s.push("plain:1", plain)

	five := "5"
	taken := []catalog.PipelineParameter{{Name: "TARGET_RESOURCE"}, {Name: "LIMIT", Default: &five}, {Name: "HOSTS", Type: "array"}}
	at := func(name string) string { return s.Host() + "/workflows/" + name }
	for _, c := range []struct {
		why  string
		what datastorage.Artifact
		want datastorage.Inspected
	}{
		{"by its tag", datastorage.Artifact{Image: at("good:1"), Pipeline: true}, datastorage.Inspected{Digest: digest, Parameters: taken}},
		{"the digest decides", datastorage.Artifact{Image: at("good:2"), Digest: digest, Pipeline: true}, datastorage.Inspected{Digest: digest, Parameters: taken}},
		{"its own digest", datastorage.Artifact{Image: at("good:1@" + other), Pipeline: true}, datastorage.Inspected{Digest: other, Parameters: taken}},
		{"an image that is no bundle", datastorage.Artifact{Image: at("plain:1")}, datastorage.Inspected{Digest: plainDigest}},
	} {
		got, err := s.reader.Inspect(t.Context(), c.what)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", c.why, err, diff)
		}
	}
	for _, c := range []struct {
		why  string
		what datastorage.Artifact
		want string
	}{
		{"absent", datastorage.Artifact{Image: at("good:7")}, "is absent: registry " + s.Host() + ": it has no 7"},
		{"an absent digest", datastorage.Artifact{Image: at("good:1"), Digest: "sha256:" + strings.Repeat("0", 64)}, "is absent"},
		{"two digests", datastorage.Artifact{Image: at("good@" + digest), Digest: other}, "it names the digest " + digest},
		{"no reference", datastorage.Artifact{Image: "good"}, "it is not a full reference with a tag or a digest"},
		{"no bundle", datastorage.Artifact{Image: at("plain:1"), Pipeline: true}, "is no Tekton bundle"},
		{"another object", datastorage.Artifact{Image: at("task:1"), Pipeline: true}, "has no Pipeline of the name workflow; it has: task build"},
		{"no Pipeline", datastorage.Artifact{Image: at("broken:1"), Pipeline: true}, "cannot be read"},
		{"too large", datastorage.Artifact{Image: at("huge:1"), Pipeline: true}, "is larger than 1048576 bytes"},
	} {
		_, err := s.reader.Inspect(t.Context(), c.what)
		if _, ok := errors.AsType[*datastorage.UnverifiedError](err); !ok || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it not verified with %q", c.why, err, c.want)
		}
	}
	t.Run("every cause is told", func(t *testing.T) { causes(t, s, at("good:1")) })
}

// causes changes what the reader has, and says what it says then.
func causes(t *testing.T, s *stand, image string) {
	for why, c := range map[string]struct {
		change func(*bundle.Reader)
		want   string
		passes bool // the same may succeed later
	}{
		"no login":         {func(r *bundle.Reader) { r.LoginFile = "" }, "refuses Data Storage: unauthorized", false},
		"a wrong password": {func(r *bundle.Reader) { r.LoginFile = written(t, `{"auths":{"`+s.Host()+`":{"auth":"cHVzaGVyOng="}}}`) }, "does not accept the password", false},
		"no authority":     {func(r *bundle.Reader) { r.CAFile = "" }, "is not trusted (TLS): its certificate is signed by an authority", false},
		"unreachable": {func(r *bundle.Reader) {
			r.Options = func(o registry.Options) registry.Options {
				o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
				return o
			}
		}, "cannot be asked for " + image + ": nothing listens there", true},
		"silent": {func(r *bundle.Reader) {
			r.Patience = 200 * time.Millisecond
			r.Options = func(o registry.Options) registry.Options {
				o.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
				return o
			}
		}, "stopped before it answered", true},
	} {
		t.Run(why, func(t *testing.T) {
			reader := *s.reader
			c.change(&reader)
			_, err := reader.Inspect(t.Context(), datastorage.Artifact{Image: image, Pipeline: true})
			_, away := errors.AsType[*datastorage.RegistryAwayError](err)
			if away != c.passes || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "cHVz")) {
				t.Errorf("the error tells a password: %v", err)
			}
		})
	}
}
