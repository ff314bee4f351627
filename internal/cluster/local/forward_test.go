package local

import (
	"io"
	"log/slog"
	"net"
	"testing"
)

// Both halves of a connection end on their own: a client that has said all it
// had to say still gets the whole answer.
func TestForwardKeepsHalvesApart(t *testing.T) {
	target, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	go func() {
		conn, err := target.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		question, _ := io.ReadAll(conn) // to its end
		_, _ = conn.Write(append([]byte("answer to "), question...))
	}()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go forward(listener, target.Addr().String(), slog.New(slog.DiscardHandler))

	conn, err := net.Dial("tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "answer to question" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestForwardToNobodyClosesTheConnection(t *testing.T) {
	nobody, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go forward(listener, nobody.Addr().String(), slog.New(slog.DiscardHandler))
	conn, err := net.Dial("tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
}
