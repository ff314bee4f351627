package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// server speaks the port-forward protocol over SPDY as an API server does, for
// one Service with the pods it is given. It refuses websockets, so the way back
// to SPDY is tried as well.
type server struct {
	t        *testing.T
	pods     []discoveryv1.Endpoint
	backend  string // where the pods' port leads; empty: refused
	sessions atomic.Int32

	mu    sync.Mutex
	conns []httpstream.Connection
}

func start(t *testing.T, s *server) *rest.Config {
	t.Helper()
	s.t = t
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/namespaces/system/services/web", func(w http.ResponseWriter, _ *http.Request) {
		s.answer(w, corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "system"},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Name: "https", Port: 443}}},
		})
	})
	mux.HandleFunc("GET /apis/discovery.k8s.io/v1/namespaces/system/endpointslices", func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query().Get("labelSelector"); got != "kubernetes.io/service-name=web" {
			t.Errorf("endpoints were asked for with the selector %q", got)
		}
		name, port := "https", int32(8443)
		s.answer(w, discoveryv1.EndpointSliceList{Items: []discoveryv1.EndpointSlice{{
			Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port}}, Endpoints: s.pods,
		}}})
	})
	mux.HandleFunc("POST /api/v1/namespaces/system/pods/{pod}/portforward", s.forward)
	web := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.breakSessions()
		web.Close()
	})
	return &rest.Config{Host: web.URL}
}

func (s *server) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.t.Error(err)
	}
}

func (s *server) forward(w http.ResponseWriter, r *http.Request) {
	if _, err := httpstream.Handshake(r, w, []string{"portforward.k8s.io"}); err != nil {
		return // it has answered
	}
	s.sessions.Add(1)
	failures := map[string]httpstream.Stream{}
	var mu sync.Mutex
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, _ <-chan struct{}) error {
		id := stream.Headers().Get(corev1.PortForwardRequestIDHeader)
		mu.Lock()
		defer mu.Unlock()
		if stream.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
			failures[id] = stream
			return nil
		}
		if port := stream.Headers().Get(corev1.PortHeader); port != "8443" {
			s.t.Errorf("port %s of the pod was asked for, want 8443", port)
		}
		go s.serve(stream, failures[id])
		return nil
	})
	if conn == nil {
		return
	}
	s.mu.Lock()
	s.conns = append(s.conns, conn)
	s.mu.Unlock()
	<-conn.CloseChan()
}

func (s *server) serve(data, failures httpstream.Stream) {
	defer func() { _ = failures.Close() }()
	backend, err := net.Dial("tcp", s.backend)
	if err != nil {
		_, _ = fmt.Fprint(failures, "connection refused inside the pod")
		_ = data.Close()
		return
	}
	go func() {
		_, _ = io.Copy(backend, data)
		_ = backend.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(data, backend)
	_ = data.Close()
}

func (s *server) breakSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

func pod(name string, ready bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: "system", Name: name, UID: types.UID("uid-" + name)},
	}
}

// hello serves HTTP and returns its address.
func hello(t *testing.T) string {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, io.MultiReader(strings.NewReader("hello "), r.Body))
	}))
	t.Cleanup(web.Close)
	return web.Listener.Addr().String()
}

func client(dial DialFunc) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 10 * time.Second}
}

func get(t *testing.T, c *http.Client) string {
	t.Helper()
	res, err := c.Post("http://web.system.svc:443/", "text/plain", strings.NewReader("world"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestManyConnectionsShareOneSession(t *testing.T) {
	s := &server{pods: []discoveryv1.Endpoint{pod("cold", false), pod("warm", true)}, backend: hello(t)}
	dial := Dialer(start(t, s))
	if got := get(t, client(dial)); got != "hello world" { // opens the session
		t.Fatalf("got %q through the forward", got)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got := get(t, client(dial)); got != "hello world" {
				t.Errorf("got %q through the forward", got)
			}
		})
	}
	all.Wait()
	if n := s.sessions.Load(); n != 1 {
		t.Errorf("21 connections to one pod took %d sessions, want 1", n)
	}
}

func TestABrokenSessionIsReplaced(t *testing.T) {
	s := &server{pods: []discoveryv1.Endpoint{pod("warm", true)}, backend: hello(t)}
	dial := Dialer(start(t, s))
	get(t, client(dial))
	s.breakSessions()
	if got := get(t, client(dial)); got != "hello world" {
		t.Fatalf("got %q after the session broke", got)
	}
	if n := s.sessions.Load(); n != 2 {
		t.Errorf("%d sessions, want a second one after the first broke", n)
	}
}

func TestWhatThePodSaysReachesTheReader(t *testing.T) {
	s := &server{pods: []discoveryv1.Endpoint{pod("warm", true)}, backend: "127.0.0.1:1"}
	conn, err := Dialer(start(t, s))(t.Context(), "tcp", "web.system.svc:443")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	if err == nil || !strings.Contains(err.Error(), "connection refused inside the pod") {
		t.Errorf("reading gave %v, want what the pod's side said", err)
	}
}

func TestDeadlinesHold(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	s := &server{pods: []discoveryv1.Endpoint{pod("warm", true)}, backend: silent.Addr().String()}
	conn, err := Dialer(start(t, s))(t.Context(), "tcp", "web.system.svc:443")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := conn.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("reading from a silent pod gave %v, want a timeout", err)
	}
}

func TestErrorsNameTheThing(t *testing.T) {
	s := &server{pods: []discoveryv1.Endpoint{pod("cold", false)}}
	dial := Dialer(start(t, s))
	for _, c := range []struct{ address, want string }{
		{"web.system.svc:443", "no ready pod behind Service system/web; see: kubectl -n system get pods -l app=web"},
		{"web.system.svc:80", "Service system/web has no port 80; it has 443"},
		{"absent.system.svc:443", "there is no Service absent in namespace system"},
		{"example.com:443", "does not name a Service"},
		{"web.system.svc", "has no port"},
		{"web.system.svc:0", "has no port between 1 and 65535"},
	} {
		_, err := dial(t.Context(), "tcp", c.address)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("dialing %s: %v, want an error with %q", c.address, err, c.want)
		}
	}
	_, err := dial(t.Context(), "tcp", "web.system.svc:443")
	if _, ok := errors.AsType[*Unready](err); !ok {
		t.Errorf("%v is not *Unready: nobody can tell that waiting helps", err)
	}
	if _, err := dial(t.Context(), "udp", "web.system.svc:443"); !errors.Is(err, ErrNotCluster) {
		t.Errorf("dialing over UDP: %v, want ErrNotCluster", err)
	}
}

func TestDialingEndsWithItsContext(t *testing.T) {
	stuck := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stuck }))
	t.Cleanup(web.Close)
	t.Cleanup(func() { close(stuck) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Dialer(&rest.Config{Host: web.URL})(ctx, "tcp", "web.system.svc:443"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dialing a server that says nothing gave %v, want the context's end", err)
	}
}

func TestNames(t *testing.T) {
	for host, want := range map[string]bool{
		"registry.kubernaut-system.svc:5000": true, "registry.kubernaut-system.svc": true, "registry.a.svc.cluster.local:5000": true,
		"registry.example.com": false, "registry.example.com:5000": false, "localhost:5000": false, "": false,
	} {
		if got := Names(host); got != want {
			t.Errorf("%q names a Service: %v, want %v", host, got, want)
		}
	}
}
