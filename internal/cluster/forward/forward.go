// Package forward reaches Services inside a cluster through the API server.
//
// It dials "service.namespace.svc:port" as a program in the cluster would, so
// the same URLs, image references and certificates hold inside and outside.
// Nothing listens on this machine: each connection is a stream of one
// port-forward session to a ready pod of the Service.
package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Unready says that a Service exists and no pod behind it is ready. Waiting may
// help.
type Unready struct {
	Namespace, Service string
	Selector           string // of its pods
}

func (e *Unready) Error() string {
	return fmt.Sprintf("no ready pod behind Service %s/%s; see: kubectl -n %s get pods -l %s", e.Namespace, e.Service, e.Namespace, e.Selector)
}

// ErrNoService says that there is no Service of that name.
var ErrNoService = errors.New("there is no Service")

// ErrNotCluster says that an address does not name a Service port.
var ErrNotCluster = errors.New("not the address of a Service")

// DialFunc has the shape of net.Dialer.DialContext.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// Dialer returns a dial function for addresses of the form
// "service.namespace.svc:port" (also with the cluster's domain appended).
// Connections to one pod share one session, which closes by itself when it has
// been unused for a while. A connection that the pod refuses is reported by its
// first Read, with what the kubelet said.
func Dialer(cfg *rest.Config) DialFunc {
	d := &dialer{cfg: cfg, sessions: map[types.UID]*session{}}
	return d.dial
}

type dialer struct {
	cfg *rest.Config

	mu       sync.Mutex
	sessions map[types.UID]*session
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	svc, err := parseAddress(network, address)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(d.cfg)
	if err != nil {
		return nil, fmt.Errorf("dialing %s: %w", address, err)
	}
	pod, err := readyPod(ctx, client, svc)
	if err != nil {
		return nil, fmt.Errorf("dialing %s: %w", address, err)
	}
	conn, err := d.connect(ctx, client, pod)
	if err != nil {
		return nil, fmt.Errorf("dialing %s through pod %s: %w", address, pod.name, err)
	}
	return conn, nil
}

// connect opens a stream to pod on the session that is there, or on a new one.
// A session that died since its last use is replaced once.
func (d *dialer) connect(ctx context.Context, client kubernetes.Interface, pod endpoint) (net.Conn, error) {
	if s := d.session(pod.uid); s != nil {
		if conn, err := s.open(pod.port); err == nil {
			return conn, nil
		}
		d.forget(s)
	}
	s, err := d.start(ctx, client, pod)
	if err != nil {
		return nil, err
	}
	return s.open(pod.port)
}

func (d *dialer) session(pod types.UID) *session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sessions[pod]
}

// start makes a session to pod; when another one was made meanwhile, that wins.
func (d *dialer) start(ctx context.Context, client kubernetes.Interface, pod endpoint) (*session, error) {
	url := client.CoreV1().RESTClient().Post().Resource("pods").
		Namespace(pod.namespace).Name(pod.name).SubResource("portforward").URL()
	conn, err := upgrade(ctx, d.cfg, url)
	if err != nil {
		return nil, err
	}
	made := newSession(pod.uid, conn, d.forget)

	d.mu.Lock()
	defer d.mu.Unlock()
	if other := d.sessions[pod.uid]; other != nil {
		made.close()
		return other, nil
	}
	d.sessions[pod.uid] = made
	go func() {
		<-conn.CloseChan()
		d.forget(made)
	}()
	return made, nil
}

// forget closes s and makes sure that nobody finds it any more.
func (d *dialer) forget(s *session) {
	d.mu.Lock()
	if d.sessions[s.pod] == s {
		delete(d.sessions, s.pod)
	}
	d.mu.Unlock()
	s.close()
}
