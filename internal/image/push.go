package image

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// patience is how long a registry may refuse connections: a Service forwards
// for about a second nothing after its pod became ready.
const patience = 3 * time.Second

// Options say how a registry is reached.
type Options struct {
	// Dial opens the connection to "host:port" of the reference; nil: over the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// CA holds the certificates (PEM) that may sign the registry's; nil: those of the machine.
	CA []byte
	// Username and Password are sent to the registry; both empty: anonymous.
	Username, Password string
}

// Push sends an image to the registry that ref names and returns its digest.
// What the registry has already is not sent again. An error names the registry,
// the repository and the cause.
func Push(ctx context.Context, ref string, img v1.Image, o Options) (v1.Hash, error) {
	tag, err := name.ParseReference(ref, name.StrictValidation)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("pushing: %w", err)
	}
	options, err := o.remote(ctx)
	if err != nil {
		return v1.Hash{}, o.explain("pushing", tag, err)
	}
	if err := remote.Write(tag, img, options...); err != nil {
		return v1.Hash{}, o.explain("pushing", tag, err)
	}
	return img.Digest()
}

// Resolve returns the digest of the image that ref names in its registry.
func Resolve(ctx context.Context, ref string, o Options) (v1.Hash, error) {
	tag, err := name.ParseReference(ref, name.StrictValidation)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("resolving: %w", err)
	}
	options, err := o.remote(ctx)
	if err != nil {
		return v1.Hash{}, o.explain("resolving", tag, err)
	}
	found, err := remote.Head(tag, options...)
	if err != nil {
		return v1.Hash{}, o.explain("resolving", tag, err)
	}
	return found.Digest, nil
}

// WithProgram is the image that ref names in its registry, with a file added that
// is what it runs.
func WithProgram(ctx context.Context, ref string, program Text, o Options) (v1.Image, error) {
	tag, err := name.ParseReference(ref, name.StrictValidation)
	if err != nil {
		return nil, fmt.Errorf("reading image: %w", err)
	}
	options, err := o.remote(ctx)
	if err != nil {
		return nil, o.explain("reading", tag, err)
	}
	base, err := remote.Image(tag, options...)
	if err != nil {
		return nil, o.explain("reading", tag, err)
	}
	tree := NewTree()
	tree.Text(program.Path, program.Content, program.Mode)
	layer, err := newLayer(tree.write)
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, o.explain("reading", tag, err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, o.explain("reading", tag, err)
	}
	file = file.DeepCopy()
	file.Config.Entrypoint, file.Config.Cmd = []string{program.Path}, nil
	return mutate.ConfigFile(img, file)
}

// IsAbsent tells whether an error says only that the registry, which answered,
// has no such image.
func IsAbsent(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

func (o Options) remote(ctx context.Context) ([]remote.Option, error) {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != nil {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("the CA given holds no PEM certificate")
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

// explain says which registry refused which image, why, and what to look at.
func (o Options) explain(doing string, ref name.Reference, err error) error {
	return fmt.Errorf("%s %s: registry %s: %s: %w", doing, ref, ref.Context().RegistryStr(), o.cause(ref, err), err)
}

func (o Options) cause(ref name.Reference, err error) string {
	var answer *transport.Error
	if errors.As(err, &answer) {
		return o.refusal(ref, answer.StatusCode)
	}
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
	)
	switch {
	case errors.As(err, &authority):
		return "its certificate is signed by an authority that is not among the given CA certificates"
	case errors.As(err, &host):
		return fmt.Sprintf("its certificate is not made out for %q", ref.Context().RegistryStr())
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens there, also not after %s; is it running?", patience)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "it closed the connection; look at its log"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "stopped before it answered"
	}
	return "no usable answer"
}

// refusal explains the status of an HTTP answer.
func (o Options) refusal(ref name.Reference, status int) string {
	switch status {
	case http.StatusUnauthorized:
		if o.Username == "" {
			return "unauthorized: it wants a user name and a password, and none were given"
		}
		return fmt.Sprintf("unauthorized: it does not accept the password of user %q; compare it with the registry's htpasswd", o.Username)
	case http.StatusForbidden:
		return fmt.Sprintf("user %q may not use repository %s", o.Username, ref.Context().RepositoryStr())
	case http.StatusNotFound:
		return fmt.Sprintf("it has no %s; push it first", ref.Identifier())
	}
	return fmt.Sprintf("it answered with status %d", status)
}
