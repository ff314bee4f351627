package service

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/pki"
)

var quietly = slog.New(slog.DiscardHandler)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLogSaysItsFormatOrRefuses(t *testing.T) {
	for format, want := range map[string]string{"": `"msg":"Hello"`, "json": `"msg":"Hello"`, "text": "msg=Hello"} {
		var b bytes.Buffer
		log, err := NewLog(&b, LogConfig{Format: format})
		must(t, err)
		log.Debug("Hidden")
		log.Info("Hello")
		if !strings.Contains(b.String(), want) || strings.Contains(b.String(), "Hidden") {
			t.Errorf("%q writes %s", format, b.String())
		}
	}
	if _, err := NewLog(io.Discard, LogConfig{Format: "xml"}); err == nil {
		t.Error("xml is taken")
	}
}

func TestAnEndLetsRequestsUnderWayFinish(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	ending := make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-finish
		_, _ = io.WriteString(w, "done")
	})
	s, err := Listen(t.Context(), quietly, Listener{Name: "test", Address: "127.0.0.1:0", Handler: handler})
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served, answered := make(chan error, 1), make(chan string, 1)
	go func() { served <- s.Serve(ctx, func() { close(ending) }, 0, time.Minute) }()
	go func() {
		res, err := http.Get("http://" + s.Addresses()[0])
		if err != nil {
			answered <- err.Error()
			return
		}
		defer func() { _ = res.Body.Close() }()
		body, _ := io.ReadAll(res.Body)
		answered <- string(body)
	}()
	<-arrived
	stop()
	<-ending
	close(finish)
	if got := <-answered; got != "done" {
		t.Errorf("the request under way got %q", got)
	}
	must(t, <-served)
	if conn, err := net.Dial("tcp", s.Addresses()[0]); err == nil {
		_ = conn.Close()
		t.Error("the server still listens")
	}
}

func TestARequestThatDoesNotEndIsCutOffAndSaidSo(t *testing.T) {
	arrived := make(chan struct{})
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { close(arrived); <-r.Context().Done() })
	s, err := Listen(t.Context(), quietly, Listener{Name: "test", Address: "127.0.0.1:0", Handler: handler})
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, func() {}, 0, 10*time.Millisecond) }()
	go func() {
		if res, err := http.Get("http://" + s.Addresses()[0]); err == nil {
			_ = res.Body.Close()
		}
	}()
	<-arrived
	stop()
	if err := <-served; err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("error is %v, want that requests were cut off", err)
	}
}

func TestATakenPortIsAnErrorAndNothingStaysOpen(t *testing.T) {
	first, err := Listen(t.Context(), quietly, Listener{Name: "first", Address: "127.0.0.1:0"})
	must(t, err)
	defer first.close()
	taken := first.Addresses()[0]
	if _, err := Listen(t.Context(), quietly, Listener{Name: "free", Address: "127.0.0.1:0"}, Listener{Name: "second", Address: taken}); err == nil || !strings.Contains(err.Error(), "second") {
		t.Errorf("error is %v, want one that names the listener", err)
	}
}

// write makes a certificate for localhost under a new authority, stamps its files n
// seconds after 2026 began, and returns the authority.
func write(t *testing.T, files TLSConfig, n int) *x509.CertPool {
	t.Helper()
	ca, err := pki.NewAuthority(fmt.Sprint("authority ", n), time.Now())
	must(t, err)
	leaf, err := ca.Issue(pki.Request{Hosts: []string{"127.0.0.1"}, Server: true}, time.Now())
	must(t, err)
	stamp := time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC)
	for file, content := range map[string][]byte{files.CertFile: leaf.Cert, files.KeyFile: leaf.Key} {
		must(t, os.WriteFile(file, content, 0o600))
		must(t, os.Chtimes(file, stamp, stamp))
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.Cert)
	return pool
}

func TestACertificateThatChangesIsTakenUp(t *testing.T) {
	dir := t.TempDir()
	files := TLSConfig{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	if _, err := ServerTLS(files); err == nil {
		t.Error("files that are not there are no error")
	}
	first := write(t, files, 1)
	c := &certificate{files: files}
	must(t, c.load())
	now := time.Now()
	trusted := func(pool *x509.CertPool, at time.Time) bool {
		leaf, err := x509.ParseCertificate(c.get(at).Certificate[0])
		must(t, err)
		_, err = leaf.Verify(x509.VerifyOptions{Roots: pool})
		return err == nil
	}
	if !trusted(first, now) {
		t.Error("the first certificate is not in use")
	}
	second := write(t, files, 2)
	if !trusted(second, now.Add(2*lookEvery)) {
		t.Error("the second certificate is not taken up")
	}
	must(t, os.WriteFile(files.CertFile, []byte("half writ"), 0o600))
	if !trusted(second, now.Add(4*lookEvery)) {
		t.Error("a broken file takes the good certificate away")
	}
	third := write(t, files, 3)
	if !trusted(third, now.Add(6*lookEvery)) {
		t.Error("the third certificate is not taken up")
	}
}

func TestTheServerSpeaksTLS(t *testing.T) {
	dir := t.TempDir()
	files := TLSConfig{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	pool := write(t, files, 1)
	config, err := ServerTLS(files)
	must(t, err)
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	s, err := Listen(t.Context(), quietly, Listener{Name: "test", Address: "127.0.0.1:0", TLS: config, Handler: hello})
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, func() {}, 0, time.Minute) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	res, err := client.Get("https://" + s.Addresses()[0])
	must(t, err)
	body, err := io.ReadAll(res.Body)
	must(t, err)
	must(t, res.Body.Close())
	if string(body) != "HTTP/2.0" {
		t.Errorf("answered over %s, want HTTP/2.0", body)
	}
	client.CloseIdleConnections()
	stop()
	must(t, <-served)
}
