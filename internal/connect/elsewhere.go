package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// Server is a Data Storage that is reached without its cluster.
type Server struct {
	URL       string
	CAFile    string // whom to trust beside the system's authorities
	TokenFile string // empty: no token is sent
}

// Open returns a client of the server. It sends nothing yet.
func (s Server) Open() (*datastorage.Client, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // the machine has none
	}
	if s.CAFile != "" {
		raw, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading the CA certificate of Data Storage: %w", err)
		}
		if !roots.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("%s has no PEM certificate", s.CAFile)
		}
	}
	over := &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}
	return datastorage.New(s.URL, over, s.tokens())
}

func (s Server) tokens() datastorage.TokenSource {
	if s.TokenFile == "" {
		return nil
	}
	return func(context.Context) (string, error) {
		raw, err := os.ReadFile(s.TokenFile) // again each time: it may be rotated
		if err != nil {
			return "", fmt.Errorf("reading the token for Data Storage: %w", err)
		}
		return strings.TrimSpace(string(raw)), nil
	}
}
