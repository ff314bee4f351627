package servers

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Fault is what a Proxy does to what goes through it. The zero value is none.
type Fault struct {
	Refuse  bool          // nobody can connect, and who is connected is cut off
	Silence bool          // bytes are taken and go nowhere, as in a lost network
	Deaf    bool          // what the client says arrives, the answers do not, and then it is cut off
	After   int           // after so many bytes of one direction the connection is cut off; 0: never
	Delay   time.Duration // before each piece goes on
}

// Proxy stands between clients and a server, and breaks the connections between them.
type Proxy struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	fault Fault
	open  map[net.Conn]bool
	moved chan struct{} // closed when the fault changes
}

// StartProxy starts a proxy of the server at host:port, for one test.
func StartProxy(t testing.TB, server string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &Proxy{listener: l, server: server, open: map[net.Conn]bool{}, moved: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() { p.accept(&running) })
	t.Cleanup(func() {
		_ = l.Close()
		p.Break(Fault{Refuse: true})
		running.Wait()
	})
	return p
}

// Through is the URL of the server with the proxy's address.
func (p *Proxy) Through(t testing.TB, serverURL string) string {
	t.Helper()
	u, err := url.Parse(serverURL)
	must(t, err)
	u.Host = p.listener.Addr().String()
	return u.String()
}

// Break changes the fault, also for the connections that are open. Restore ends it.
func (p *Proxy) Break(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	close(p.moved)
	p.moved = make(chan struct{})
	if f.Refuse {
		for conn := range p.open {
			_ = conn.Close()
		}
	}
}

// Restore ends the fault. Connections that it has broken stay so.
func (p *Proxy) Restore() { p.Break(Fault{}) }

func (p *Proxy) now() (Fault, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault, p.moved
}

func (p *Proxy) accept(running *sync.WaitGroup) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // the test has ended
		}
		if f, _ := p.now(); f.Refuse {
			_ = client.Close()
			continue
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.keep(client, server)
		running.Go(func() { p.pipe(server, client, false) })
		running.Go(func() { p.pipe(client, server, true) })
	}
}

func (p *Proxy) keep(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.open[c] = true
		if p.fault.Refuse {
			_ = c.Close()
		}
	}
}

// pipe copies one direction until it is cut off.
func (p *Proxy) pipe(to, from net.Conn, answers bool) {
	defer func() {
		_, _ = to.Close(), from.Close() // both ends see it
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, to)
		delete(p.open, from)
	}()
	buffer := make([]byte, 16<<10)
	passed := 0
	for {
		n, err := from.Read(buffer)
		if n > 0 && !p.pass(to, buffer[:n], &passed, answers) {
			return
		}
		if err != nil {
			return
		}
	}
}

// pass lets one piece through, as the fault says, and whether more may follow.
func (p *Proxy) pass(to io.Writer, piece []byte, passed *int, answers bool) bool {
	f, moved := p.now()
	for f.Silence {
		<-moved
		if f, moved = p.now(); !f.Silence {
			return false // what was silent is never heard
		}
	}
	if f.Refuse || f.Deaf && answers {
		return false
	}
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-moved:
		}
	}
	if f.After > 0 {
		if left := f.After - *passed; left < len(piece) {
			_, _ = to.Write(piece[:max(0, left)]) // torn in the middle
			return false
		}
	}
	*passed += len(piece)
	_, err := to.Write(piece)
	return err == nil
}
