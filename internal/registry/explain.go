package registry

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Cause is the class of what stands between us and an image.
type Cause string

// The causes.
const (
	Malformed    Cause = "malformed"    // the reference is none
	Absent       Cause = "absent"       // the registry does not have it
	Unauthorized Cause = "unauthorized" // no login, or one that it does not accept, or may not do this
	Untrusted    Cause = "tls"          // its certificate is not one we trust
	Unreachable  Cause = "unreachable"  // nobody answers there
	Stopped      Cause = "stopped"      // the time was over before it answered
	Unusable     Cause = "unusable"     // it answered something else
)

// Error says which registry refused which image, why, and what to look at.
type Error struct {
	Doing   string
	Ref     string // empty when it is malformed
	Host    string
	Cause   Cause
	Message string // the cause in words
	Err     error
}

func (e *Error) Error() string {
	if e.Cause == Malformed {
		return fmt.Sprintf("%s: %v", e.Doing, e.Err)
	}
	return fmt.Sprintf("%s %s: registry %s: %s: %v", e.Doing, e.Ref, e.Host, e.Message, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// IsAbsent tells whether an error says only that the registry, which answered, has
// no such image.
func IsAbsent(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Cause == Absent
}

func (o Options) explain(doing string, ref name.Reference, err error) *Error {
	e := &Error{Doing: doing, Ref: ref.String(), Host: ref.Context().RegistryStr(), Err: err}
	e.Cause, e.Message = o.cause(ref, err)
	return e
}

func (o Options) cause(ref name.Reference, err error) (Cause, string) {
	var (
		answer    *transport.Error
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		lookup    *net.DNSError
		network   net.Error
	)
	switch {
	case errors.As(err, &answer):
		return o.refusal(ref, answer.StatusCode)
	case errors.Is(err, errNoPEM):
		return Untrusted, "it cannot be trusted"
	case errors.As(err, &authority):
		return Untrusted, "its certificate is signed by an authority that is not among the given CA certificates"
	case errors.As(err, &host):
		return Untrusted, fmt.Sprintf("its certificate is not made out for %q", ref.Context().RegistryStr())
	case errors.As(err, &invalid):
		return Untrusted, "its certificate is not valid now or not for servers"
	case errors.Is(err, syscall.ECONNREFUSED):
		return Unreachable, fmt.Sprintf("nothing listens there, also not after %s; is it running?", patience)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Stopped, "stopped before it answered"
	case errors.As(err, &lookup):
		return Unreachable, fmt.Sprintf("the name %q is not known", lookup.Name)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return Unreachable, "it closed the connection; look at its log"
	case errors.As(err, &network):
		return Unreachable, "it cannot be reached"
	}
	return Unusable, "no usable answer"
}

// refusal explains the status of an HTTP answer.
func (o Options) refusal(ref name.Reference, status int) (Cause, string) {
	switch status {
	case http.StatusUnauthorized:
		if o.Username == "" {
			return Unauthorized, "unauthorized: it wants a user name and a password, and none were given"
		}
		return Unauthorized, fmt.Sprintf("unauthorized: it does not accept the password of user %q; compare it with the registry's htpasswd", o.Username)
	case http.StatusForbidden:
		return Unauthorized, fmt.Sprintf("user %q may not use repository %s", o.Username, ref.Context().RepositoryStr())
	case http.StatusNotFound:
		return Absent, fmt.Sprintf("it has no %s; push it first", ref.Identifier())
	}
	if status >= http.StatusInternalServerError {
		return Unreachable, fmt.Sprintf("it answered with status %d", status)
	}
	return Unusable, fmt.Sprintf("it answered with status %d", status)
}
