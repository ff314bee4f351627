// Package pki issues the certificates of an environment: one authority, and
// leaf certificates that are issued again when they near their end, when what
// they should say changes, or when their file is damaged. The authority's key
// stays, so whoever trusts it need not be told of a renewal.
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

// How long certificates hold. They are renewed when a third of the time is left.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour
	skew          = time.Hour // clocks may be late by this much
)

// Pair is a certificate and its private key, both PEM.
type Pair struct {
	Cert []byte
	Key  []byte
}

// Authority signs certificates.
type Authority struct {
	Pair
	cert *x509.Certificate
	key  crypto.Signer
}

// Request says what a leaf certificate should say.
type Request struct {
	CommonName    string   // for clients: the user's name
	Organizations []string // for clients: the user's groups
	Hosts         []string // DNS names and IP addresses a server is reached by
	Server        bool     // may serve
	Client        bool     // may identify a client
}

// NewAuthority makes an authority with a new key.
func NewAuthority(name string, now time.Time) (*Authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	return selfSigned(name, key, now)
}

// ParseAuthority reads an authority back from its certificate and key.
func ParseAuthority(p Pair) (*Authority, error) {
	cert, key, err := p.parse()
	if err != nil {
		return nil, err
	}
	if !cert.IsCA {
		return nil, fmt.Errorf("certificate %q is not an authority's", cert.Subject.CommonName)
	}
	return &Authority{Pair: p, cert: cert, key: key}, nil
}

// Renewed returns the authority itself while its certificate holds long enough,
// else one with the same key and a new certificate: what was signed by the old
// one is valid under the new one, and the other way round.
func (a *Authority) Renewed(now time.Time) (*Authority, error) {
	if !nearEnd(a.cert, now) {
		return a, nil
	}
	return selfSigned(a.cert.Subject.CommonName, a.key, now)
}

// Issue makes a leaf certificate with a new key.
func (a *Authority) Issue(r Request, now time.Time) (Pair, error) {
	key, err := newKey()
	if err != nil {
		return Pair{}, err
	}
	leaf, err := template(r.CommonName, now, leafLife)
	if err != nil {
		return Pair{}, err
	}
	if leaf.NotAfter.After(a.cert.NotAfter) {
		leaf.NotAfter = a.cert.NotAfter
	}
	leaf.Subject.Organization = r.Organizations
	leaf.DNSNames, leaf.IPAddresses = split(r.Hosts)
	leaf.ExtKeyUsage = r.usages()
	return sign(leaf, a.cert, key, a.key)
}

// Problem says why the pair cannot be used for the request at that time, or
// nothing when it can.
func (a *Authority) Problem(p Pair, r Request, now time.Time) string {
	cert, _, err := p.parse()
	if err != nil {
		return err.Error()
	}
	names, addresses := split(r.Hosts)
	switch {
	case cert.CheckSignatureFrom(a.cert) != nil:
		return "it was issued by another authority"
	case nearEnd(cert, now):
		return "it ends on " + cert.NotAfter.Format(time.DateOnly)
	case cert.Subject.CommonName != r.CommonName, !slices.Equal(cert.Subject.Organization, r.Organizations):
		return "it names " + cert.Subject.String()
	case !slices.Equal(cert.DNSNames, names), !slices.EqualFunc(cert.IPAddresses, addresses, net.IP.Equal):
		return "the server's names or addresses have changed"
	case !slices.Equal(cert.ExtKeyUsage, r.usages()):
		return "its use has changed"
	}
	return ""
}

func (r Request) usages() []x509.ExtKeyUsage {
	var usages []x509.ExtKeyUsage
	if r.Server {
		usages = append(usages, x509.ExtKeyUsageServerAuth)
	}
	if r.Client {
		usages = append(usages, x509.ExtKeyUsageClientAuth)
	}
	return usages
}

// nearEnd tells whether less than a third of the certificate's life is left, or
// it has not begun.
func nearEnd(cert *x509.Certificate, now time.Time) bool {
	life := cert.NotAfter.Sub(cert.NotBefore)
	return now.Before(cert.NotBefore) || now.After(cert.NotAfter.Add(-life/3))
}

func selfSigned(name string, key crypto.Signer, now time.Time) (*Authority, error) {
	ca, err := template(name, now, authorityLife)
	if err != nil {
		return nil, err
	}
	ca.IsCA, ca.BasicConstraintsValid = true, true
	ca.KeyUsage |= x509.KeyUsageCertSign
	pair, err := sign(ca, ca, key, key)
	if err != nil {
		return nil, err
	}
	return ParseAuthority(pair)
}

func template(name string, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-skew),
		NotAfter:     now.Add(life),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}, nil
}

func sign(cert, parent *x509.Certificate, key, parentKey crypto.Signer) (Pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), parentKey)
	if err != nil {
		return Pair{}, fmt.Errorf("issuing certificate %q: %w", cert.Subject.CommonName, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), Key: keyPEM}, nil
}

func split(hosts []string) (names []string, addresses []net.IP) {
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			addresses = append(addresses, ip)
		} else {
			names = append(names, h)
		}
	}
	return names, addresses
}

func (p Pair) parse() (*x509.Certificate, crypto.Signer, error) {
	block, _ := pem.Decode(p.Cert)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, nil, errors.New("no certificate in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("reading certificate: %w", err)
	}
	key, err := parseKey(p.Key)
	if err != nil {
		return nil, nil, err
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, errors.New("the key belongs to another certificate")
	}
	return cert, key, nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return key, nil
}

// NewKey makes a private key in PEM, for signing that needs no certificate.
func NewKey() ([]byte, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	return encodeKey(key)
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key of type %T, want ECDSA", key)
	}
	der, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func parseKey(raw []byte) (*ecdsa.PrivateKey, error) {
	block, rest := pem.Decode(raw)
	if block == nil || block.Type != "EC PRIVATE KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("no EC private key in PEM")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	return key, nil
}
