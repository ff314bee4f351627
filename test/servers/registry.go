package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/pki"
)

// Registry is one running registry with TLS and a password. Its certificate is made
// out for the name that it has in a cluster; Dial leads to it whatever the name is.
type Registry struct {
	process
	CA                 []byte // PEM
	Username, Password string
	address            string
}

// StartRegistry starts a registry that lives as long as the test. It does not wait
// until it answers: clients of a registry do.
func StartRegistry(t testing.TB) *Registry {
	t.Helper()
	needs(t, "the registry's program")
	cache, err := build.Open()
	must(t, err)
	program, err := cache.Build(t.Context(), build.Registry, func(note string) { t.Log(note) })
	must(t, err)
	dir := folder(t, "registry")
	r := &Registry{address: fmt.Sprintf("127.0.0.1:%d", port(t)), Username: "pusher", Password: "secret"}
	r.write(t, dir)
	// A copy: the servers' user may not look into the cache of whoever runs the test.
	copied := filepath.Join(dir, "registry")
	content, err := os.ReadFile(program)
	must(t, err)
	must(t, os.WriteFile(copied, content, 0o755))
	give(t, dir)
	r.process = process{
		t: t, name: "the registry", log: filepath.Join(dir, "log"), env: []string{"OTEL_TRACES_EXPORTER=none"},
		args: []string{copied, "serve", filepath.Join(dir, "config.yml")},
	}
	r.start()
	t.Cleanup(func() { r.stop(syscall.SIGTERM) })
	return r
}

// write writes the files of a registry.
func (r *Registry) write(t testing.TB, dir string) {
	t.Helper()
	authority, err := pki.NewAuthority("test", time.Now())
	must(t, err)
	host, _, err := net.SplitHostPort(v1alpha1.RegistryHost)
	must(t, err)
	leaf, err := authority.Issue(pki.Request{CommonName: host, Hosts: []string{host}, Server: true}, time.Now())
	must(t, err)
	r.CA = authority.Cert
	hash, err := bcrypt.GenerateFromPassword([]byte(r.Password), bcrypt.MinCost)
	must(t, err)
	config := fmt.Sprintf(`version: 0.1
storage: {filesystem: {rootdirectory: %[1]s/data}, delete: {enabled: true}}
http: {addr: %[2]q, tls: {certificate: %[1]s/tls.crt, key: %[1]s/tls.key}}
auth: {htpasswd: {realm: test, path: %[1]s/htpasswd}}
`, dir, r.address)
	must(t, errors.Join(
		os.WriteFile(filepath.Join(dir, "tls.crt"), leaf.Cert, 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), leaf.Key, 0o600),
		os.WriteFile(filepath.Join(dir, "htpasswd"), fmt.Appendf(nil, "%s:%s\n", r.Username, hash), 0o600),
		os.WriteFile(filepath.Join(dir, "config.yml"), []byte(config), 0o600),
	))
}

// Host is how references name the registry.
func (r *Registry) Host() string { return v1alpha1.RegistryHost }

// Dial leads to the registry.
func (r *Registry) Dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, r.address)
}

// Kill ends the registry as a crash does.
func (r *Registry) Kill() { r.t.Helper(); r.kill() }
