package identity_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/identity"
	"kubernaut.ai/kubernaut/test/servers"
)

// TestGate asks a real API server about real tokens.
func TestGate(t *testing.T) {
	config := servers.APIServer(t)
	admin, err := kubernetes.NewForConfig(config)
	must(t, err)
	gate, err := identity.New(config, "datastorage")
	must(t, err)
	account(t, admin, "writer")
	allow(t, admin, "writer", "create", "auditevents")

	caller, err := gate.Identify(t.Context(), token(t, admin, "datastorage"))
	must(t, err)
	if caller.ID != "system:serviceaccount:default:writer" || caller.Type != "serviceaccount" {
		t.Errorf("the caller is %s %q", caller.Type, caller.ID)
	}
	eventually(t, gate, caller, datastorage.Access{Verb: "create", Resource: "auditevents"})
	for _, a := range []datastorage.Access{
		{Verb: "get", Resource: "auditevents"}, {Verb: "backdate", Resource: "auditevents"}, {Verb: "create", Resource: "workflows"},
	} {
		allowed, err := gate.Allows(t.Context(), caller, a)
		must(t, err)
		if allowed {
			t.Errorf("the writer may %s %s", a.Verb, a.Resource)
		}
	}
	for why, wrong := range map[string]string{
		"none":                       "",
		"made for the API server":    token(t, admin),
		"made for somebody else":     token(t, admin, "vault"),
		"not a token":                "hello",
		"longer than any token":      strings.Repeat("x", 1<<20),
		"with a signature cut short": token(t, admin, "datastorage")[:300],
	} {
		if _, err := gate.Identify(t.Context(), wrong); !errors.Is(err, datastorage.ErrUnauthenticated) {
			t.Errorf("a token %s: %v, want ErrUnauthenticated", why, err)
		}
	}
	t.Run("what is withdrawn ends", func(t *testing.T) { withdrawn(t, config, admin) })
}

// TestWithoutTheAPIServerNobodyIsRefusedOrLetIn asks an API server that is not there.
func TestWithoutTheAPIServerNobodyIsRefusedOrLetIn(t *testing.T) {
	if testing.Short() {
		t.Skip("needs kube-apiserver and etcd: run `make test`")
	}
	kube, err := servers.StartAPIServer()
	must(t, err)
	must(t, kube.Stop())
	gate, err := identity.New(kube.Config, "datastorage")
	must(t, err)
	if _, err := gate.Identify(t.Context(), "token"); !errors.Is(err, datastorage.ErrBusy) {
		t.Errorf("who: %v, want ErrBusy", err)
	}
	allowed, err := gate.Allows(t.Context(), datastorage.Caller{ID: "x"}, datastorage.Access{Verb: "get", Resource: "auditevents"})
	if allowed || !errors.Is(err, datastorage.ErrBusy) {
		t.Errorf("may: %v, %v; want ErrBusy", allowed, err)
	}
}

func account(t *testing.T, admin kubernetes.Interface, name string) {
	t.Helper()
	_, err := admin.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: name},
	}, metav1.CreateOptions{})
	must(t, err)
}

// token asks for a token of the writer; without an audience it is for the API server.
func token(t *testing.T, admin kubernetes.Interface, audiences ...string) string {
	t.Helper()
	request, err := admin.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "writer", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: audiences},
	}, metav1.CreateOptions{})
	must(t, err)
	return request.Status.Token
}

// allow gives a service account one right.
func allow(t *testing.T, admin kubernetes.Interface, name, verb, resource string) {
	t.Helper()
	_, err := admin.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{identity.Group}, Resources: []string{resource}, Verbs: []string{verb}}},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: name}},
	}, metav1.CreateOptions{})
	must(t, err)
}

// eventually waits until a right that was given has reached the authorizer, and
// the kept no has expired.
func eventually(t *testing.T, gate *identity.Gate, caller datastorage.Caller, a datastorage.Access) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		allowed, err := gate.Allows(ctx, caller, a)
		must(t, err)
		if allowed {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s may not %s %s", caller.ID, a.Verb, a.Resource)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
