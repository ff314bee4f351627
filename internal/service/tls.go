package service

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// TLSConfig names the files of a server's certificate.
type TLSConfig struct {
	CertFile string `json:"certFile"` // PEM; the leaf first
	KeyFile  string `json:"keyFile"`  // PEM
}

// Enabled says whether the server speaks TLS.
func (c TLSConfig) Enabled() bool { return c.CertFile != "" || c.KeyFile != "" }

// lookEvery is how often the files are looked at, when somebody connects.
const lookEvery = 10 * time.Second

// certificate is a certificate in files that may be replaced, as the kubelet does
// with a Secret that changes.
type certificate struct {
	files TLSConfig

	mu      sync.Mutex
	current *tls.Certificate
	stamp   [2]time.Time // when the files in use were changed
	looked  time.Time
}

// ServerTLS returns a configuration that takes up a changed certificate by itself.
// While the files cannot be read, the certificate read last stays in use; at the
// start they must be there.
func ServerTLS(files TLSConfig) (*tls.Config, error) {
	c := &certificate{files: files}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("reading the certificate of the server: %w", err)
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(time.Now()), nil },
	}, nil
}

func (c *certificate) get(now time.Time) *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.looked) < lookEvery {
		return c.current
	}
	c.looked = now
	if stamp, err := c.stamps(); err == nil && stamp != c.stamp {
		_ = c.load() // half-written files do not match: the next look reads them again
	}
	return c.current
}

func (c *certificate) load() error {
	stamp, err := c.stamps()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile)
	if err != nil {
		return err
	}
	c.current, c.stamp = &pair, stamp
	return nil
}

func (c *certificate) stamps() (stamp [2]time.Time, err error) {
	for i, name := range []string{c.files.CertFile, c.files.KeyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return stamp, err
		}
		stamp[i] = info.ModTime()
	}
	return stamp, nil
}
