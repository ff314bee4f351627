package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	now    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	server = Request{CommonName: "kube-apiserver", Hosts: []string{"localhost", "127.0.0.1"}, Server: true}
)

func authority(t *testing.T) *Authority {
	t.Helper()
	ca, err := NewAuthority("kubernaut", now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t *testing.T, ca *Authority, r Request, at time.Time) Pair {
	t.Helper()
	pair, err := ca.Issue(r, at)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// verify asks whether who trusts ca would accept the pair as r says.
func verify(ca *Authority, p Pair, r Request, at time.Time) error {
	loaded, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Cert)
	cert, err := x509.ParseCertificate(loaded.Certificate[0])
	if err != nil {
		return err
	}
	options := x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: r.usages()}
	if len(r.Hosts) > 0 {
		options.DNSName = r.Hosts[0]
	}
	_, err = cert.Verify(options)
	return err
}

func TestIssuedCertificatesVerify(t *testing.T) {
	ca := authority(t)
	for _, r := range []Request{
		server,
		{CommonName: "admin", Organizations: []string{"system:masters"}, Client: true},
		{CommonName: "both", Hosts: []string{"10.0.0.1"}, Server: true, Client: true},
	} {
		if err := verify(ca, issue(t, ca, r, now), r, now); err != nil {
			t.Errorf("%s: %v", r.CommonName, err)
		}
	}
}

func TestServerCertificateIsNoClientCertificate(t *testing.T) {
	ca := authority(t)
	pair := issue(t, ca, server, now)
	if err := verify(ca, pair, Request{Client: true}, now); err == nil {
		t.Error("a server's certificate identifies a client")
	}
}

func TestProblemsAreFound(t *testing.T) {
	ca := authority(t)
	good := issue(t, ca, server, now)
	moved := server
	moved.Hosts = []string{"localhost", "10.20.0.1"}
	renamed := server
	renamed.Organizations = []string{"system:masters"}
	both := server
	both.Client = true
	for name, c := range map[string]struct {
		pair Pair
		r    Request
		at   time.Time
		want string
	}{
		"good":               {good, server, now, ""},
		"good for a while":   {good, server, now.Add(leafLife / 2), ""},
		"near its end":       {good, server, now.Add(leafLife * 3 / 4), "it ends on 2027-03-01"},
		"clock set back":     {good, server, now.Add(-2 * skew), "it ends on"},
		"other address":      {good, moved, now, "addresses have changed"},
		"other group":        {good, renamed, now, "it names"},
		"other use":          {good, both, now, "use has changed"},
		"other authority":    {issue(t, authority(t), server, now), server, now, "another authority"},
		"other key":          {Pair{good.Cert, issue(t, ca, server, now).Key}, server, now, "belongs to another"},
		"certificate cut":    {Pair{good.Cert[:100], good.Key}, server, now, "no certificate"},
		"key cut":            {Pair{good.Cert, good.Key[:40]}, server, now, "no EC private key"},
		"key with more":      {Pair{good.Cert, append(bytes.Clone(good.Key), "more"...)}, server, now, "no EC private key"},
		"no certificate yet": {Pair{}, server, now, "no certificate"},
	} {
		got := ca.Problem(c.pair, c.r, c.at)
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestRenewedAuthorityVouchesForOldAndNew(t *testing.T) {
	old := authority(t)
	if same, err := old.Renewed(now.Add(authorityLife / 2)); err != nil || same != old {
		t.Fatalf("renewed too early (%v)", err)
	}
	late := now.Add(authorityLife * 3 / 4)
	before := issue(t, old, server, late)
	renewed, err := old.Renewed(late)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(renewed.Cert, old.Cert) || !bytes.Equal(renewed.Key, old.Key) {
		t.Fatal("a renewal is a new certificate for the old key")
	}
	if err := verify(renewed, before, server, late); err != nil {
		t.Errorf("old certificate under the renewed authority: %v", err)
	}
	if err := verify(old, issue(t, renewed, server, late), server, late); err != nil {
		t.Errorf("new certificate under the old authority: %v", err)
	}
}

func TestLeafDoesNotOutliveItsAuthority(t *testing.T) {
	ca := authority(t)
	cert, _, err := issue(t, ca, server, now.Add(authorityLife-24*time.Hour)).parse()
	if err != nil {
		t.Fatal(err)
	}
	if cert.NotAfter.After(ca.cert.NotAfter) {
		t.Errorf("leaf ends %s, authority %s", cert.NotAfter, ca.cert.NotAfter)
	}
}

func TestStoreKeepsWhatIsGood(t *testing.T) {
	s := Store{Dir: filepath.Join(t.TempDir(), "pki"), Now: now}
	ca, leaf, key := fill(t, s)
	ca2, leaf2, key2 := fill(t, s)
	if !bytes.Equal(ca.Cert, ca2.Cert) || !bytes.Equal(leaf.Cert, leaf2.Cert) || !bytes.Equal(key, key2) {
		t.Error("something good was made again")
	}
	s.Now = now.Add(leafLife * 3 / 4)
	ca3, leaf3, key3 := fill(t, s)
	if !bytes.Equal(ca.Cert, ca3.Cert) || bytes.Equal(leaf.Cert, leaf3.Cert) || !bytes.Equal(key, key3) {
		t.Error("near the leaf's end only the leaf should be new")
	}
}

func TestStoreMendsDamage(t *testing.T) {
	s := Store{Dir: t.TempDir(), Now: now}
	fill(t, s)
	for _, file := range []string{"leaf.crt", "leaf.key", "sa.key"} {
		if err := os.Truncate(filepath.Join(s.Dir, file), 20); err != nil {
			t.Fatal(err)
		}
	}
	ca, leaf, key := fill(t, s)
	if problem := ca.Problem(leaf, server, now); problem != "" {
		t.Error(problem)
	}
	if _, err := parseKey(key); err != nil {
		t.Error(err)
	}
	if err := os.Truncate(filepath.Join(s.Dir, "ca.key"), 20); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Authority("ca"); err == nil || !strings.Contains(err.Error(), "down and up again") {
		t.Errorf("a damaged authority: %v", err)
	}
}

func TestKeysAreForTheirOwnerOnly(t *testing.T) {
	s := Store{Dir: t.TempDir(), Now: now}
	fill(t, s)
	entries, err := os.ReadDir(s.Dir)
	if err != nil || len(entries) != 5 {
		t.Fatalf("%d files (%v), want 5", len(entries), err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v (%v)", e.Name(), info.Mode(), err)
		}
	}
}

func fill(t *testing.T, s Store) (*Authority, Pair, []byte) {
	t.Helper()
	ca, err := s.Authority("ca")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := s.Leaf(ca, "leaf", server)
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.Key("sa")
	if err != nil {
		t.Fatal(err)
	}
	return ca, leaf, key
}
