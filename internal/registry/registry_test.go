package registry_test

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"

	"kubernaut.ai/kubernaut/internal/pki"
	"kubernaut.ai/kubernaut/internal/registry"
	"kubernaut.ai/kubernaut/test/servers"
)

func optionsOf(r *servers.Registry) registry.Options {
	return registry.Options{Dial: r.Dial, CA: r.CA, Credentials: registry.Credentials{Username: r.Username, Password: r.Password}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAgainstARegistry(t *testing.T) {
	r := servers.StartRegistry(t)
	img, err := random.Image(64, 2)
	must(t, err)
	ref := r.Host() + "/kubernaut/tool:1"
	pushed, err := registry.Push(t.Context(), ref, img, optionsOf(r)) // itself waits for the first second of refusals
	must(t, err)
	if again, err := registry.Push(t.Context(), ref, img, optionsOf(r)); err != nil || again != pushed {
		t.Errorf("the second push gave %s, %v; want %s", again, err, pushed)
	}
	if found, err := registry.Resolve(t.Context(), ref, optionsOf(r)); err != nil || found != pushed {
		t.Errorf("Resolve(%s) = %s, %v; want %s", ref, found, err, pushed)
	}
	t.Run("what is wrong is said", func(t *testing.T) { refusals(t, r, ref) })
}

func refusals(t *testing.T, r *servers.Registry, ref string) {
	stranger, err := pki.NewAuthority("stranger", time.Now())
	must(t, err)
	for name, c := range map[string]struct {
		change func(*registry.Options)
		ref    string
		cause  registry.Cause
		want   string
	}{
		"wrong password":   {change: func(o *registry.Options) { o.Password = "guess" }, cause: registry.Unauthorized, want: `does not accept the password of user "pusher"`},
		"no password":      {change: func(o *registry.Options) { o.Username, o.Password = "", "" }, cause: registry.Unauthorized, want: "none were given"},
		"unknown CA":       {change: func(o *registry.Options) { o.CA = stranger.Cert }, cause: registry.Untrusted, want: "signed by an authority that is not among"},
		"no CA":            {change: func(o *registry.Options) { o.CA = nil }, cause: registry.Untrusted, want: "signed by an authority that is not among"},
		"public ones only": {change: func(o *registry.Options) { o.CA, o.Public = stranger.Cert, true }, cause: registry.Untrusted, want: "signed by an authority that is not among"},
		"CA is no CA":      {change: func(o *registry.Options) { o.CA = []byte("hello") }, cause: registry.Untrusted, want: "holds no PEM certificate"},
		"other host":       {ref: "elsewhere.example:5000/kubernaut/tool:1", cause: registry.Untrusted, want: `not made out for "elsewhere.example:5000"`},
		"malformed":        {ref: "registry/UPPER:1", cause: registry.Malformed, want: "resolving: "},
		"no tag, no guess": {ref: r.Host() + "/kubernaut/tool", cause: registry.Malformed, want: "resolving: "},
		"nothing listens":  {change: nobody, cause: registry.Unreachable, want: "nothing listens there"},
		"no such name":     {change: nowhere, cause: registry.Unreachable, want: "is not known"},
		"absent":           {ref: r.Host() + "/kubernaut/none:7", cause: registry.Absent, want: "it has no 7; push it first"},
	} {
		t.Run(name, func(t *testing.T) {
			o := optionsOf(r)
			if c.change != nil {
				c.change(&o)
			}
			if c.ref == "" {
				c.ref = ref
			}
			_, err := registry.Resolve(t.Context(), c.ref, o)
			e, ok := err.(*registry.Error) //nolint:errorlint // it is returned as it is
			if !ok || e.Cause != c.cause || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want the cause %s and %q", err, c.cause, c.want)
			}
		})
	}
}

// nowhere knows no name.
func nowhere(o *registry.Options) {
	o.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
	}
}

// nobody refuses every connection.
func nobody(o *registry.Options) {
	o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
}

func TestAQuestionEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := registry.Options{Dial: func(context.Context, string, string) (net.Conn, error) {
		cancel()
		return nil, syscall.ECONNREFUSED
	}}
	_, err := registry.Resolve(ctx, "registry.example:5000/a:1", o)
	if err == nil || !strings.Contains(err.Error(), "stopped before it answered") {
		t.Errorf("got %v", err)
	}
}

func TestLogin(t *testing.T) {
	const config = `{"auths":{
		"registry.example:5000":{"username":"a","password":"b"},
		"https://index.docker.io/v1/":{"auth":"Yzpk"},
		"open.example":{},
		"broken.example":{"auth":"?"}}}`
	for host, want := range map[string]string{
		"registry.example:5000": "a:b", "registry.example": "", "index.docker.io": "c:d", "docker.io": "c:d", "elsewhere.example": "",
	} {
		found, ok, err := registry.Login([]byte(config), host)
		got := found.Username + ":" + found.Password
		if !ok {
			got = ""
		}
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", host, got, err, want)
		}
	}
	for content, host := range map[string]string{config: "broken.example", `{"auths":{"secret`: "x"} {
		if _, _, err := registry.Login([]byte(content), host); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v, want one without the content", host, err)
		}
	}
}
