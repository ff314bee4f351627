package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/bundle"
	"kubernaut.ai/kubernaut/internal/datastorage/identity"
	"kubernaut.ai/kubernaut/internal/datastorage/postgres"
	"kubernaut.ai/kubernaut/internal/environment/chart"
	"kubernaut.ai/kubernaut/internal/pki"
	"kubernaut.ai/kubernaut/internal/registry"
	"kubernaut.ai/kubernaut/internal/terminal"
	"kubernaut.ai/kubernaut/test/servers"
)

// site is an installation: all of a cluster that the commands on workflows need: a real API
// server with the chart's rights, PostgreSQL, a registry, and Data Storage, which
// asks the API server who calls and the registry what is registered.
type site struct {
	t        *testing.T
	config   *rest.Config
	client   client.Client
	registry *servers.Registry
	storage  string // the address of Data Storage
}

// TestCatalog runs the scripts about the catalog.
func TestCatalog(t *testing.T) {
	i := newSite(t)
	kubeconfig := servers.Kubeconfig(t, i.config)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/catalog", UpdateScripts: update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("KUBECONFIG", kubeconfig)
			return apart(e)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"workflow": i.command("workflow", kubeconfig),
			"run":      i.command("run", kubeconfig),
		},
	})
}

// command runs a command of the program inside the test, where Services can be
// reached.
func (i *site) command(name, kubeconfig string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		f := &cli.Factory{IO: terminal.Streams{Out: ts.Stdout(), Err: ts.Stderr()}, Now: time.Now}
		f.Cluster.Dial = i.dial
		root := newRoot(f)
		root.SetArgs(append([]string{name, "--kubeconfig", kubeconfig}, args...))
		err := root.ExecuteContext(i.t.Context())
		if err != nil && err.Error() != "" {
			_, _ = fmt.Fprintf(ts.Stderr(), "kubernaut: %v\n", err)
		}
		if code := cli.CodeOf(i.t.Context(), err); (code != cli.Done) != neg {
			ts.Fatalf("kubernaut %s %s ended with %d: %v", name, strings.Join(args, " "), code, err)
		}
	}
}

// dial leads to what runs here by the names that it has in a cluster.
func (i *site) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if address == v1alpha1.RegistryHost {
		return i.registry.Dial(ctx, network, address)
	}
	return new(net.Dialer).DialContext(ctx, network, i.storage)
}

func newSite(t *testing.T) *site {
	t.Helper()
	i := &site{t: t, config: servers.APIServer(t), registry: servers.StartRegistry(t)}
	var err error
	i.client, err = client.New(i.config, client.Options{Scheme: connect.Scheme})
	i.must(err)
	i.rights()
	ca := i.serve(migrated(t))
	i.create(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.PublicCA},
		Data:       map[string]string{v1alpha1.CAKey: string(ca) + string(i.registry.CA)},
	})
	i.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.WorkflowNamespace, Name: v1alpha1.DefaultPullSecret},
		Type:       corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: i.logins()},
	})
	tools, err := random.Image(64, 1)
	i.must(err)
	_, err = registry.Push(t.Context(), i.registry.Host()+"/kubernaut/tools:latest", tools, registry.Options{
		Dial: i.registry.Dial, CA: i.registry.CA, Credentials: i.credentials(),
	})
	i.must(err)
	return i
}

func (i *site) must(err error) {
	i.t.Helper()
	if err != nil {
		i.t.Fatal(err)
	}
}

func (i *site) create(o client.Object) {
	i.t.Helper()
	i.must(i.client.Create(i.t.Context(), o))
}

// rights makes what the chart says of accounts and roles.
func (i *site) rights() {
	i.t.Helper()
	for _, name := range []string{v1alpha1.SystemNamespace, v1alpha1.WorkflowNamespace} {
		i.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	objects, err := chart.Render(i.t.Context(), "../../charts/kubernaut", chart.Release{
		Name: "kubernaut", Namespace: v1alpha1.SystemNamespace, KubeVersion: "v1.37.2",
		Values: map[string]any{"images": map[string]any{"datastorage": "a:1", "controller": "b:1"}},
	})
	i.must(err)
	for _, o := range slices.Concat(slices.Collect(maps.Values(objects))...) {
		if slices.Contains([]string{"ServiceAccount", "ClusterRole", "ClusterRoleBinding"}, o.GetKind()) {
			i.create(o.DeepCopy())
		}
	}
}

func (i *site) credentials() registry.Credentials {
	return registry.Credentials{Username: i.registry.Username, Password: i.registry.Password}
}

func (i *site) logins() []byte {
	i.t.Helper()
	raw, err := json.Marshal(map[string]any{"auths": map[string]any{
		i.registry.Host(): map[string]string{"username": i.registry.Username, "password": i.registry.Password},
	}})
	i.must(err)
	return raw
}

// migrated is a database with the schema, as the service.
func migrated(t *testing.T) string {
	t.Helper()
	owner := servers.PostgreSQL(t)
	if err := postgres.Migrate(t.Context(), owner, "service", slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(owner)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(postgres.ServiceRole, "service")
	return u.String()
}

// serve starts Data Storage and returns the authority of its certificate.
func (i *site) serve(database string) []byte {
	t := i.t
	t.Helper()
	quietly := slog.New(slog.DiscardHandler)
	store, err := postgres.Open(database, postgres.Config{}, quietly)
	i.must(err)
	t.Cleanup(store.Close)
	gate, err := identity.New(i.config, api.TokenAudience)
	i.must(err)
	handler := datastorage.New(datastorage.Options{
		Trail: store, Overflow: datastorage.NoOverflow{}, Catalog: store, Gate: gate, Log: quietly, Metrics: datastorage.NewMetrics(),
		Verify: datastorage.Required, Bundles: &bundle.Reader{Patience: 10 * time.Second, Options: func(o registry.Options) registry.Options {
			o.Dial, o.CA, o.Credentials = i.registry.Dial, i.registry.CA, i.credentials()
			return o
		}},
	}).Handler()
	ca, err := pki.NewAuthority("test", time.Now())
	i.must(err)
	u, err := url.Parse(v1alpha1.DataStorageURL)
	i.must(err)
	leaf, err := ca.Issue(pki.Request{Hosts: []string{u.Hostname()}, Server: true}, time.Now())
	i.must(err)
	pair, err := tls.X509KeyPair(leaf.Cert, leaf.Key)
	i.must(err)
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	i.storage = server.Listener.Addr().String()
	return ca.Cert
}
