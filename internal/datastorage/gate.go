package datastorage

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// Caller is who sends a request.
type Caller struct {
	Type   string // "serviceaccount", "user", or empty when nobody is identified
	ID     string // the user name that the token stands for
	UID    string
	Groups []string
	Extra  map[string][]string
}

// Access is what an operation does to what, in the words of Kubernetes RBAC.
type Access struct{ Verb, Resource string }

// The resources of Data Storage, in the API group datastorage.kubernaut.ai.
const (
	auditEvents = "auditevents"
	workflows   = "workflows"
)

// Gate says who a caller is and what they may do.
type Gate interface {
	// Identify returns the caller that a bearer token stands for; the error is
	// ErrUnauthenticated when it stands for nobody.
	Identify(ctx context.Context, token string) (Caller, error)
	// Allows says whether a caller has a right.
	Allows(ctx context.Context, c Caller, a Access) (bool, error)
}

// ErrUnauthenticated says that a token is missing, expired or not for us.
var ErrUnauthenticated = errors.New("not authenticated")

// OpenGate lets everybody do everything and identifies nobody. It is for
// development and must be asked for.
type OpenGate struct{}

// Identify returns a caller without a name.
func (OpenGate) Identify(context.Context, string) (Caller, error) { return Caller{}, nil }

// Allows always does.
func (OpenGate) Allows(context.Context, Caller, Access) (bool, error) { return true, nil }

// bearer returns the token of a request, or "".
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
