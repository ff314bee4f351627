// Package registry sends images to a registry and reads them there, and says which
// registry refused what, and why.
package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

var errNoPEM = errors.New("the CA given holds no PEM certificate")

// patience is how long a registry may refuse connections: a Service forwards
// for about a second nothing after its pod became ready.
const patience = 3 * time.Second

// Options say how a registry is reached.
type Options struct {
	// Dial opens the connection to "host:port" of the reference; nil: over the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// CA holds the certificates (PEM) that may sign the registry's; nil: those of the machine.
	CA []byte
	// Public trusts those of the machine beside CA.
	Public bool
	// Credentials are sent to the registry; empty: anonymous.
	Credentials
}

// Push sends an image to the registry that ref names and returns its digest.
// What the registry has already is not sent again. An error names the registry,
// the repository and the cause.
func Push(ctx context.Context, ref string, img v1.Image, o Options) (v1.Hash, error) {
	_, err := Ask(ctx, "pushing", ref, o, func(tag name.Reference, options ...remote.Option) (none struct{}, err error) {
		return none, remote.Write(tag, img, options...)
	})
	if err != nil {
		return v1.Hash{}, err
	}
	return img.Digest()
}

// Resolve returns the digest of the image that ref names in its registry.
func Resolve(ctx context.Context, ref string, o Options) (v1.Hash, error) {
	found, err := Ask(ctx, "resolving", ref, o, remote.Head)
	if err != nil {
		return v1.Hash{}, err
	}
	return found.Digest, nil
}

// Ask puts one question about ref to its registry, and explains why it has no good
// answer: the error is an *Error.
func Ask[T any](ctx context.Context, doing, ref string, o Options, ask func(name.Reference, ...remote.Option) (T, error)) (answer T, err error) {
	tag, err := name.ParseReference(ref, name.StrictValidation)
	if err != nil {
		return answer, &Error{Doing: doing, Cause: Malformed, Err: err}
	}
	options, err := o.remote(ctx)
	if err == nil {
		answer, err = ask(tag, options...)
	}
	if err != nil {
		return answer, o.explain(doing, tag, err)
	}
	return answer, nil
}

func (o Options) remote(ctx context.Context) ([]remote.Option, error) {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != nil {
		pool, err := o.trusted()
		if err != nil {
			return nil, err
		}
		base.TLSClientConfig.RootCAs = pool
	}
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	} else {
		base.Proxy = nil // a dialer of our own knows the way
	}
	base.DialContext = patiently(dial, time.Now().Add(patience))
	options := []remote.Option{
		remote.WithContext(ctx),
		remote.WithTransport(base),
		remote.WithRetryBackoff(remote.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 4}),
	}
	if o.Username != "" || o.Password != "" {
		options = append(options, remote.WithAuth(&authn.Basic{Username: o.Username, Password: o.Password}))
	}
	return options, nil
}

func (o Options) trusted() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if o.Public {
		machine, err := x509.SystemCertPool()
		if err == nil { // else there are none
			pool = machine
		}
	}
	if !pool.AppendCertsFromPEM(o.CA) {
		return nil, errNoPEM
	}
	return pool, nil
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// patiently dials again while the other side refuses, until deadline.
func patiently(dial dialer, deadline time.Time) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		for {
			conn, err := dial(ctx, network, address)
			if !errors.Is(err, syscall.ECONNREFUSED) || !time.Now().Before(deadline) {
				return conn, err
			}
			select {
			case <-ctx.Done():
				return nil, errors.Join(ctx.Err(), err)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}
