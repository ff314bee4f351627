package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Listener is one address that a process answers on.
type Listener struct {
	Name    string // for the log
	Address string // host:port
	TLS     *tls.Config
	Handler http.Handler
}

// Bounds on what one connection may hold up.
const (
	readHeader = 10 * time.Second
	readAll    = 60 * time.Second
	idle       = 120 * time.Second
	headerSize = 64 << 10
)

// Server is a set of listeners that open together and end together.
type Server struct {
	log     *slog.Logger
	servers []*http.Server
	open    []net.Listener
	names   []string
}

// Listen opens all addresses, or none: a port that is taken is an error here.
func Listen(ctx context.Context, log *slog.Logger, listeners ...Listener) (*Server, error) {
	s := &Server{log: log}
	for _, l := range listeners {
		var config net.ListenConfig
		open, err := config.Listen(ctx, "tcp", l.Address)
		if err != nil {
			s.close()
			return nil, fmt.Errorf("listening for %s: %w", l.Name, err)
		}
		s.open = append(s.open, open)
		s.names = append(s.names, l.Name)
		s.servers = append(s.servers, &http.Server{
			Handler: l.Handler, TLSConfig: l.TLS, ReadHeaderTimeout: readHeader, ReadTimeout: readAll, IdleTimeout: idle,
			MaxHeaderBytes: headerSize, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		})
	}
	return s, nil
}

func (s *Server) close() {
	for _, l := range s.open {
		_ = l.Close() // nobody has connected
	}
}

// Addresses are where the listeners listen, in their order.
func (s *Server) Addresses() []string {
	var all []string
	for _, l := range s.open {
		all = append(all, l.Addr().String())
	}
	return all
}

// Serve answers until ctx ends. Then it calls ending, which turns readiness off,
// waits for drain so that whoever sends requests has noticed, and gives requests
// under way until grace to finish.
func (s *Server) Serve(ctx context.Context, ending func(), drain, grace time.Duration) error {
	failed := make(chan error, len(s.servers))
	var running sync.WaitGroup
	for i, server := range s.servers {
		s.log.Info("Listening", "for", s.names[i], "address", s.open[i].Addr().String(), "tls", server.TLSConfig != nil)
		running.Go(func() {
			if err := serve(server, s.open[i]); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serving %s: %w", s.names[i], err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
		s.log.Info("Ending", "drain", drain, "grace", grace)
		ending()
		<-time.After(drain)
	case err = <-failed:
	}
	err = errors.Join(err, s.shutdown(grace))
	running.Wait()
	return err
}

func serve(server *http.Server, l net.Listener) error {
	if server.TLSConfig != nil {
		return server.ServeTLS(l, "", "")
	}
	return server.Serve(l)
}

func (s *Server) shutdown(grace time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	var all error
	for i, server := range s.servers {
		if err := server.Shutdown(ctx); err != nil {
			all = errors.Join(all, fmt.Errorf("requests for %s were cut off after %s: %w", s.names[i], grace, err))
			_ = server.Close()
		}
	}
	return all
}
