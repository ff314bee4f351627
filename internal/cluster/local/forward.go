package local

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
)

// forward hands every connection of the listener to the address. The listener
// was opened on the machine, the address is dialled from here: the one crosses
// into the node's network because open sockets stay where they were made.
func forward(listener net.Listener, address string, log *slog.Logger) {
	for {
		from, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			log.Warn("Cannot accept a connection", "err", err)
			continue
		}
		go func() {
			if err := join(from, address); err != nil {
				log.Debug("A forwarded connection ended", "err", err)
			}
		}()
	}
}

// join copies both ways until both sides have said all they had to say.
func join(from net.Conn, address string) error {
	defer from.Close()
	to, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer to.Close()
	outer, inner := from.(*net.TCPConn), to.(*net.TCPConn)
	var back error
	var both sync.WaitGroup
	both.Go(func() { back = pass(outer, inner) })
	forth := pass(inner, outer)
	both.Wait()
	return errors.Join(forth, back)
}

func pass(to, from *net.TCPConn) error {
	_, err := io.Copy(to, from)
	return errors.Join(err, to.CloseWrite())
}
