package image

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/crypto/bcrypt"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/pki"
)

// registryHost is the name in the registry's certificate; the tests dial the
// loopback address behind it, as the environment does through the API server.
const registryHost = "registry.kubernaut-system.svc:5000"

type testRegistry struct {
	address string
	ca      []byte
	dir     string
	program string
}

// newRegistry prepares a real registry with TLS and a password; start runs it.
func newRegistry(t *testing.T) *testRegistry {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the registry's program: run make test")
	}
	cache, err := build.Open()
	if err != nil {
		t.Fatal(err)
	}
	program, err := cache.Build(t.Context(), build.Registry, func(note string) { t.Log(note) })
	if err != nil {
		t.Fatal(err)
	}
	r := &testRegistry{address: "127.0.0.1:" + freePort(t), dir: t.TempDir(), program: program}
	authority, err := pki.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ := strings.Cut(registryHost, ":")
	leaf, err := authority.Issue(pki.Request{CommonName: host, Hosts: []string{host}, Server: true}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r.ca = authority.Cert
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, "tls.crt", leaf.Cert)
	r.write(t, "tls.key", leaf.Key)
	r.write(t, "htpasswd", fmt.Appendf(nil, "pusher:%s\n", hash))
	r.write(t, "config.yml", fmt.Appendf(nil, `version: 0.1
storage: {filesystem: {rootdirectory: %[1]s/data}}
http: {addr: %[2]q, tls: {certificate: %[1]s/tls.crt, key: %[1]s/tls.key}}
auth: {htpasswd: {realm: test, path: %[1]s/htpasswd}}
`, r.dir, r.address))
	return r
}

func (r *testRegistry) write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, file), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs the registry until the test ends. It does not wait for it.
func (r *testRegistry) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(r.program, "serve", filepath.Join(r.dir, "config.yml"))
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // it was killed
	})
}

func (r *testRegistry) options() Options {
	return Options{
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, r.address)
		},
		CA: r.ca, Username: "pusher", Password: "secret",
	}
}

func TestPushedImageComesBackTheSame(t *testing.T) {
	r := newRegistry(t)
	r.start(t) // Push itself waits for the first second of refusals
	bundle, err := Bundle([]byte(pipeline))
	if err != nil {
		t.Fatal(err)
	}
	for repository, img := range map[string]v1.Image{
		"kubernaut/tool":     mustAssemble(t, sampleTree(t, sampleProgram(t))),
		"workflows/increase": bundle,
	} {
		ref := registryHost + "/" + repository + ":1"
		pushed, err := Push(t.Context(), ref, img, r.options())
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Push(t.Context(), ref, img, r.options()); err != nil || again != pushed {
			t.Errorf("the second push gave %s, %v; want %s", again, err, pushed)
		}
		if found, err := Resolve(t.Context(), ref, r.options()); err != nil || found != pushed {
			t.Errorf("Resolve(%s) = %s, %v; want %s", ref, found, err, pushed)
		}
		back := pull(t, ref, r.options())
		if digest, err := back.Digest(); err != nil || digest != pushed {
			t.Errorf("%s came back as %s, %v; want %s", ref, digest, err, pushed)
		}
		checkLayers(t, back)
	}
}

func pull(t *testing.T, ref string, o Options) v1.Image {
	t.Helper()
	tag, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	options, err := o.remote(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(tag, options...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestPushSaysWhatIsWrong(t *testing.T) {
	r := newRegistry(t)
	r.start(t)
	img := mustAssemble(t, sampleTree(t, sampleProgram(t)))
	ref := registryHost + "/kubernaut/tool:1"
	if _, err := Push(t.Context(), ref, img, r.options()); err != nil { // it serves
		t.Fatal(err)
	}
	stranger, err := pki.NewAuthority("stranger", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Options)
		ref    string
		want   string
	}{
		"wrong password":   {change: func(o *Options) { o.Password = "guess" }, want: `does not accept the password of user "pusher"`},
		"no password":      {change: func(o *Options) { o.Username, o.Password = "", "" }, want: "none were given"},
		"unknown CA":       {change: func(o *Options) { o.CA = stranger.Cert }, want: "signed by an authority that is not among"},
		"no CA":            {change: func(o *Options) { o.CA = nil }, want: "signed by an authority that is not among"},
		"CA is no CA":      {change: func(o *Options) { o.CA = []byte("hello") }, want: "holds no PEM certificate"},
		"other host":       {ref: "elsewhere.example:5000/kubernaut/tool:1", want: `not made out for "elsewhere.example:5000"`},
		"malformed":        {ref: "registry/UPPER:1", want: "pushing: "},
		"nothing listens":  {change: closedPort(t), want: "nothing listens there"},
		"no tag, no guess": {ref: registryHost + "/kubernaut/tool", want: "pushing: "},
	} {
		t.Run(name, func(t *testing.T) {
			o := r.options()
			if c.change != nil {
				c.change(&o)
			}
			if c.ref == "" {
				c.ref = ref
			}
			_, err := Push(t.Context(), c.ref, img, o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	if _, err := Resolve(t.Context(), registryHost+"/kubernaut/none:7", r.options()); err == nil || !strings.Contains(err.Error(), "it has no 7; push it first") {
		t.Errorf("resolving what is not there: %v", err)
	}
}

func closedPort(t *testing.T) func(*Options) {
	address := "127.0.0.1:" + freePort(t)
	return func(o *Options) {
		o.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	}
}

func TestPushEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := Options{Dial: func(context.Context, string, string) (net.Conn, error) {
		cancel()
		return nil, syscall.ECONNREFUSED
	}}
	_, err := Push(ctx, registryHost+"/a:1", mustAssemble(t, sampleTree(t, sampleProgram(t))), o)
	if err == nil || !strings.Contains(err.Error(), "stopped before it answered") {
		t.Errorf("got %v", err)
	}
}

func TestRefusalsAreExplained(t *testing.T) {
	ref, err := name.ParseReference(registryHost + "/a:1")
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[int]string{
		http.StatusForbidden:       `user "pusher" may not use repository a`,
		http.StatusTooManyRequests: "it answered with status 429",
	} {
		if got := (Options{Username: "pusher"}).refusal(ref, status); got != want {
			t.Errorf("%d: %q, want %q", status, got, want)
		}
	}
}
