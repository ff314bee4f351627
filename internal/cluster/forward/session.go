package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// unusedFor is how long a session stays open after its last connection.
const unusedFor = 30 * time.Second

// hangUpAfter is how long a pod may take to close a connection that the caller
// has closed.
const hangUpAfter = 5 * time.Second

// upgrade opens a port-forward session: over a websocket, and over SPDY where
// the API server or a proxy before it does not speak that.
func upgrade(ctx context.Context, cfg *rest.Config, url *url.URL) (httpstream.Connection, error) {
	overWebsocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, cfg)
	if err != nil {
		return nil, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(cfg)
	if err != nil {
		return nil, err
	}
	overSPDY := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	both := portforward.NewFallbackDialerForStreaming(overWebsocket, overSPDY, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	return dialWithin(ctx, both)
}

// dialWithin gives up waiting for the session when ctx ends; a session that is
// made later is closed.
func dialWithin(ctx context.Context, d httpstream.Dialer) (httpstream.Connection, error) {
	type result struct {
		conn     httpstream.Connection
		protocol string
		err      error
	}
	done := make(chan result, 1)
	go func() {
		conn, protocol, err := d.Dial(portforward.PortForwardProtocolV1Name)
		done <- result{conn, protocol, err}
	}()
	select {
	case <-ctx.Done():
		go func() {
			if late := <-done; late.err == nil {
				_ = late.conn.Close()
			}
		}()
		return nil, ctx.Err()
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("opening a port-forward session: %w", r.err)
		}
		if r.protocol != portforward.PortForwardProtocolV1Name {
			_ = r.conn.Close()
			return nil, fmt.Errorf("the API server offers port-forward protocol %q, not %q", r.protocol, portforward.PortForwardProtocolV1Name)
		}
		return r.conn, nil
	}
}

// session carries connections to one pod.
type session struct {
	pod    types.UID
	conn   httpstream.Connection
	unused func(*session)

	mu     sync.Mutex
	nextID int
	inUse  int
	idle   *time.Timer
}

func newSession(pod types.UID, conn httpstream.Connection, unused func(*session)) *session {
	return &session{pod: pod, conn: conn, unused: unused}
}

func (s *session) close() { _ = s.conn.Close() }

// take counts one more connection and returns its id within the session.
func (s *session) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle != nil {
		s.idle.Stop()
	}
	s.inUse++
	s.nextID++
	return strconv.Itoa(s.nextID)
}

// giveBack counts one connection less; the last one starts the idle clock.
func (s *session) giveBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inUse--; s.inUse > 0 {
		return
	}
	s.idle = time.AfterFunc(unusedFor, func() {
		s.mu.Lock()
		stillUnused := s.inUse == 0
		s.mu.Unlock()
		if stillUnused {
			s.unused(s)
		}
	})
}

// open makes one connection to port of the session's pod.
func (s *session) open(port int32) (net.Conn, error) {
	id := s.take()
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(int(port)))
	headers.Set(corev1.PortForwardRequestIDHeader, id)

	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	failures, err := s.conn.CreateStream(headers)
	if err != nil {
		s.giveBack()
		return nil, fmt.Errorf("opening a stream: %w", err)
	}
	_ = failures.Close() // we only read from it

	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := s.conn.CreateStream(headers)
	if err != nil {
		s.conn.RemoveStreams(failures)
		s.giveBack()
		return nil, fmt.Errorf("opening a stream: %w", err)
	}
	ours, theirs := net.Pipe()
	c := &connection{Conn: ours}
	go func() {
		c.carry(theirs, data, failures)
		s.conn.RemoveStreams(failures, data)
		s.giveBack()
	}()
	return c, nil
}

// connection is one end of a pipe whose other end is copied to and from a
// stream: so it has deadlines, which streams have not.
type connection struct {
	net.Conn

	mu      sync.Mutex
	failure error
}

// Read reports what the kubelet said instead of a bare end of file.
func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.failure != nil {
			return n, c.failure
		}
	}
	return n, err
}

// carry copies both ways until one side ends.
func (c *connection) carry(local net.Conn, data, failures httpstream.Stream) {
	refused := make(chan struct{})
	go func() {
		defer close(refused)
		said, _ := io.ReadAll(failures)
		if len(said) > 0 {
			c.fail(errors.New(strings.TrimSpace(string(said))))
			_ = local.Close()
		}
	}()
	go func() {
		_, _ = io.Copy(data, local)
		_ = data.Close() // the caller closed: let what it sent arrive, then hang up
		time.AfterFunc(hangUpAfter, func() { _ = data.Reset() })
	}()
	_, err := io.Copy(local, data)
	_ = data.Reset()
	<-refused // the kubelet closes it with the data stream; what it says explains the end
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		c.fail(err)
	}
	_ = local.Close()
}

func (c *connection) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil {
		c.failure = fmt.Errorf("the pod's end of the port-forward: %w", err)
	}
}
