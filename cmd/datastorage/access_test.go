package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/environment/chart"
	"kubernaut.ai/kubernaut/internal/pki"
	"kubernaut.ai/kubernaut/test/servers"
)

// access is the program as the chart runs it: with TLS, and with callers whom a real
// API server knows and to whom it gives the rights of the chart's roles.
type access struct {
	*program
	owner string // the database as its owner
	admin kubernetes.Interface
	roots *x509.CertPool
	dir   string
}

func newAccess(t *testing.T) *access {
	t.Helper()
	cfg := servers.APIServer(t)
	owner, service := migrated(t, servers.StartPostgreSQL(t))
	a := &access{owner: owner, program: newProgram(t, service, ""), admin: kubernetes.NewForConfigOrDie(cfg), dir: t.TempDir()}
	a.certify()
	must(t, os.WriteFile(a.config, fmt.Appendf(nil, `
listen: %q
operations: %q
kubeconfig: %q
tls: {certFile: %[4]s/tls.crt, keyFile: %[4]s/tls.key}
catalog: {verifyBundles: "off"}
shutdown: {drain: 100ms}
`, a.address, freeAddress(t), servers.Kubeconfig(t, cfg), a.dir), 0o600))
	_, err := a.admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}, metav1.CreateOptions{})
	must(t, err)
	a.roles()
	a.start()
	return a
}

// certify writes a certificate of a new authority, which clients trust from now on.
func (a *access) certify() {
	a.t.Helper()
	ca, err := pki.NewAuthority("test", time.Now())
	must(a.t, err)
	leaf, err := ca.Issue(pki.Request{Hosts: []string{"127.0.0.1"}, Server: true}, time.Now())
	must(a.t, err)
	must(a.t, errors.Join(
		os.WriteFile(filepath.Join(a.dir, "tls.crt"), leaf.Cert, 0o600), os.WriteFile(filepath.Join(a.dir, "tls.key"), leaf.Key, 0o600),
	))
	a.roots = x509.NewCertPool()
	a.roots.AppendCertsFromPEM(ca.Cert)
}

// roles makes the chart's roles.
func (a *access) roles() {
	a.t.Helper()
	objects, err := chart.Render(a.t.Context(), "../../charts/kubernaut", chart.Release{
		Name: "kubernaut", Namespace: v1alpha1.SystemNamespace, KubeVersion: "v1.37.2",
		Values: map[string]any{"images": map[string]any{"datastorage": "a:1", "controller": "b:1"}},
	})
	must(a.t, err)
	for _, component := range objects {
		for _, o := range component {
			if o.GetKind() != "ClusterRole" {
				continue
			}
			var role rbacv1.ClusterRole
			must(a.t, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role))
			_, err := a.admin.RbacV1().ClusterRoles().Create(a.t.Context(), &role, metav1.CreateOptions{})
			must(a.t, err)
		}
	}
}

// as makes a service account that has one role and its name, and returns a client
// that is it.
func (a *access) as(role string) *api.Client {
	a.t.Helper()
	_, err := a.admin.CoreV1().ServiceAccounts(v1alpha1.SystemNamespace).Create(a.t.Context(),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: role}}, metav1.CreateOptions{})
	must(a.t, err)
	_, err = a.admin.RbacV1().ClusterRoleBindings().Create(a.t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "test-" + role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: v1alpha1.SystemNamespace, Name: role}},
	}, metav1.CreateOptions{})
	must(a.t, err)
	request, err := a.admin.CoreV1().ServiceAccounts(v1alpha1.SystemNamespace).CreateToken(a.t.Context(), role, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{api.TokenAudience}},
	}, metav1.CreateOptions{})
	must(a.t, err)
	return a.client(request.Status.Token)
}

func (a *access) client(token string) *api.Client {
	a.t.Helper()
	over := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.roots, MinVersion: tls.VersionTLS12}}
	a.t.Cleanup(over.CloseIdleConnections)
	c, err := api.New("https://"+a.address, &http.Client{Transport: over}, func(context.Context) (string, error) { return token, nil })
	must(a.t, err)
	return c
}

// TestWhoMayWhat asks the running program, as each role of the chart, for each thing
// that it guards.
func TestWhoMayWhat(t *testing.T) {
	a := newAccess(t)
	entry := api.WorkflowSpec{
		WorkflowName: "heal", Version: "1.0.0", Name: "Heal", Description: "x", Content: "x", ContainerImage: "registry/heal:1",
		ContentHash: "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
		Labels:      api.WorkflowLabels{SignalType: "a", Severity: "b", Component: "c", Environment: "d", Priority: "e"},
	}
	writer := a.as("kubernaut-catalog-write")
	var kept api.Workflow
	for deadline := time.Now().Add(time.Minute); ; { // until the program listens and the API server knows the role
		var err error
		if kept, _, err = writer.CreateWorkflow(t.Context(), entry); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(200 * time.Millisecond)
	}
	record := func(age time.Duration) func(*api.Client) error {
		return func(c *api.Client) error {
			_, err := c.Record(t.Context(), api.AuditEvent{
				EventID: uuid.New(), Version: "1.0", EventType: "test", EventTimestamp: time.Now().Add(-age), EventCategory: "test",
				EventAction: "tested", EventOutcome: api.EventOutcomeSuccess, CorrelationID: "case", EventData: json.RawMessage(`{}`),
				ActorType: "user", ActorID: "system:admin", // forged
			})
			return err
		}
	}
	operations := map[string]func(*api.Client) error{
		"write audit": record(0), "backdate": record(30 * 24 * time.Hour),
		"read audit": func(c *api.Client) error {
			_, err := c.Events(t.Context(), api.QueryAuditEventsParams{})
			return err
		},
		"read catalog": func(c *api.Client) error { _, err := c.Workflow(t.Context(), kept.WorkflowID); return err },
		"write catalog": func(c *api.Client) error {
			_, _, err := c.CreateWorkflow(t.Context(), entry)
			return err
		},
		"disable": func(c *api.Client) error { _, err := c.DisableWorkflow(t.Context(), kept.WorkflowID, "x"); return err },
		"holds":   func(c *api.Client) error { _, err := c.Holds(t.Context(), api.ListHoldsParams{}); return err },
		"retention": func(c *api.Client) error {
			_, err := c.PlanRetention(t.Context())
			return err
		},
		"parked": func(c *api.Client) error { _, err := c.Parked(t.Context(), api.ListParkedEventsParams{}); return err },
	}
	for role, may := range map[string][]string{
		"kubernaut-controller":   {"write audit", "backdate", "read catalog"},
		"kubernaut-cli":          {"read audit", "read catalog", "write catalog", "disable"},
		"kubernaut-audit-read":   {"read audit"},
		"kubernaut-audit-write":  {"write audit"},
		"kubernaut-audit-admin":  {"read audit", "holds", "retention", "parked"},
		"kubernaut-catalog-read": {"read catalog"},
		"kubernaut-view":         {},
	} {
		t.Run(role, func(t *testing.T) { mayOnly(t, a.as(role), operations, may) })
	}
	a.actors()
	for why, token := range map[string]string{"no token": "", "a made-up token": "hello"} {
		c := a.client(token)
		c.Attempts = 1
		if _, err := c.Workflow(t.Context(), kept.WorkflowID); !errors.Is(err, api.ErrUnauthenticated) {
			t.Errorf("%s: %v, want ErrUnauthenticated", why, err)
		}
	}
	a.renewed()
}

// mayOnly does everything as one caller; only what it may succeeds.
func mayOnly(t *testing.T, c *api.Client, operations map[string]func(*api.Client) error, may []string) {
	c.Attempts = 1
	for _, name := range may { // the API server takes a role up after a moment, and Data Storage keeps a no for 10 s
		var err error
		for deadline := time.Now().Add(time.Minute); ; {
			err = operations[name](c)
			if !errors.Is(err, api.ErrForbidden) || time.Now().After(deadline) {
				break
			}
			<-time.After(200 * time.Millisecond)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, do := range operations {
		if slices.Contains(may, name) {
			continue
		}
		err := do(c)
		if name == "backdate" && slices.Contains(may, "write audit") { // without the right it is an event that is too old
			if !errors.Is(err, api.ErrInvalid) {
				t.Errorf("%s: %v, want ErrInvalid", name, err)
			}
		} else if !errors.Is(err, api.ErrForbidden) {
			t.Errorf("%s: %v, want ErrForbidden", name, err)
		}
	}
}

// actors asks the database who did what: whoever the token said, not who the event
// said.
func (a *access) actors() {
	a.t.Helper()
	pool, err := pgx.Connect(a.t.Context(), a.owner)
	must(a.t, err)
	defer func() { _ = pool.Close(context.Background()) }() // everything is read
	rows, err := pool.Query(a.t.Context(), "SELECT DISTINCT actor_type || ' ' || actor_id FROM audit_events ORDER BY 1")
	must(a.t, err)
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(a.t, err)
	prefix := "serviceaccount system:serviceaccount:" + v1alpha1.SystemNamespace + ":"
	if diff := cmp.Diff([]string{prefix + "kubernaut-audit-write", prefix + "kubernaut-controller"}, got); diff != "" {
		a.t.Errorf("actors (-want +got):\n%s", diff)
	}
}

// renewed replaces the certificate as a Secret that changes does: the running program
// takes it up.
func (a *access) renewed() {
	a.t.Helper()
	a.certify()
	c := a.client("hello")
	c.Attempts = 1
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if _, err = c.Workflow(a.t.Context(), uuid.New()); errors.Is(err, api.ErrUnauthenticated) {
			return // it answers, behind the new certificate
		}
		<-time.After(200 * time.Millisecond)
	}
	a.t.Errorf("the new certificate is not taken up: %v", err)
}
