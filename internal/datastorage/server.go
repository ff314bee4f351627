package datastorage

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// Options are what a Server is made of.
type Options struct {
	Trail     Trail
	Reader    Reader
	Overflow  Overflow
	Parking   Parking
	Holds     Holds
	Retention Retention
	Policies  []api.RetentionPolicy // of retention; none: everything is kept
	Catalog   Catalog
	Bundles   Bundles      // asked unless Verify is Off
	Verify    Verification // empty: Off
	Gate      Gate
	Limits    Limits
	Now       func() time.Time // nil: time.Now
	Log       *slog.Logger
	Metrics   *Metrics
	Health    Health
	Ending    <-chan struct{} // closed when streams are to end; nil: never
}

// Health says how the parts of the service are.
type Health interface {
	// Ready says whether requests are taken, and what each part says.
	Ready() (bool, map[string]string)
}

// Server answers the operations of the contract.
type Server struct {
	recorder  recorder
	memory    *memory
	reader    Reader
	parking   Parking
	holds     Holds
	retention Retention
	policies  []api.RetentionPolicy
	catalog   Catalog
	verifier  verifier
	gate      Gate
	limits    Limits
	pacer     *pacer
	bodies    *bodies
	now       func() time.Time
	log       *slog.Logger
	metrics   *Metrics
	health    Health
	ending    <-chan struct{}
	feeds     atomic.Int64 // clients who follow the trail
}

var _ api.ServerInterface = (*Server)(nil)

// New makes a server. Events of many requests share transactions.
func New(o Options) *Server {
	limits := o.Limits.withDefaults()
	now := o.Now
	if now == nil {
		now = time.Now
	}
	known := &memory{}
	overflow := &remembering{Overflow: o.Overflow, memory: known}
	return &Server{
		recorder: recorder{
			trail:    &grouped{Trail: &guarded{Trail: &measured{o.Trail, o.Metrics}, overflow: overflow, memory: known}},
			overflow: overflow, memory: known,
		},
		memory: known,
		reader: o.Reader, parking: o.Parking, holds: o.Holds, retention: o.Retention, policies: o.Policies, ending: o.Ending,
		catalog: o.Catalog, verifier: verifier{o.Verify, o.Bundles}, gate: o.Gate, limits: limits, pacer: newPacer(limits), bodies: newBodies(limits.BodiesBytes),
		now: now, log: o.Log, metrics: o.Metrics, health: o.Health,
	}
}

// Handler serves every operation of openapi.yaml, and nothing else.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	api.HandlerWithOptions(s, api.StdHTTPServerOptions{
		BaseRouter:       mux,
		Middlewares:      []api.MiddlewareFunc{s.announceLimits},
		ErrorHandlerFunc: s.wrongParameter,
	})
	return s.survive(s.bodies.bound(s.unrouted(mux)))
}

// answer is the success of an operation.
type answer struct {
	status int
	body   any
}

// operation is what a handler does for a caller who may.
type operation func(ctx context.Context, who Caller) (answer, error)

// serve lets a caller in who may do what the operation does, and answers.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, need Access, do operation) {
	who, err := s.admit(r, need)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	a, err := do(r.Context(), who)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if err := writeJSON(w, r, a); err != nil {
		s.refuse(w, r, err)
	}
}

// admit identifies the caller and checks pace and right.
func (s *Server) admit(r *http.Request, need Access) (Caller, error) {
	who, err := s.gate.Identify(r.Context(), bearer(r))
	if err != nil {
		return who, err
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	caller := cmp.Or(who.ID, host)
	if slow := s.pacer.admit(caller); slow != nil {
		s.log.Debug("Caller throttled", "caller", caller, "method", r.Method, "path", r.URL.Path, "seconds", slow.retryAfter)
		return who, slow
	}
	allowed, err := s.gate.Allows(r.Context(), who, need)
	if err != nil {
		return who, err
	}
	if !allowed {
		return who, &problem{
			status: http.StatusForbidden, kind: "forbidden",
			detail: fmt.Sprintf("%s may not %s %s.datastorage.kubernaut.ai; bind a role that allows it", who.ID, need.Verb, need.Resource),
		}
	}
	return who, nil
}

// refuse answers with an error. Faults that are not the client's are logged, with
// the instance that the client was told.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	instance := "urn:uuid:" + uuid.NewString()
	status := writeProblem(w, instance, p)
	switch {
	case r.Context().Err() != nil:
		s.log.Debug("Client left before the answer", "method", r.Method, "path", r.URL.Path)
	case status == http.StatusInternalServerError:
		s.log.Error("Request failed", "method", r.Method, "path", r.URL.Path, "instance", instance, "error", err)
	case status >= 500:
		s.log.Warn("Request not served", "method", r.Method, "path", r.URL.Path, "instance", instance, "error", err)
	}
}

// smallest is the size below which compressing an answer saves nothing.
const smallest = 2048

// writeJSON answers with a success, compressed when the client takes that.
func writeJSON(w http.ResponseWriter, r *http.Request, a answer) error {
	body, err := json.Marshal(a.body)
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	if len(body) > smallest && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Add("Vary", "Accept-Encoding")
		body = compressed(body)
	}
	w.WriteHeader(a.status)
	send(w, body)
	return nil
}

// send writes a body. A client who stops taking it is given up, so that nobody keeps
// the memory of an answer by not reading it.
func send(w http.ResponseWriter, body []byte) {
	control := http.NewResponseController(w)
	for part := range slices.Chunk(body, 64<<10) {
		_ = control.SetWriteDeadline(time.Now().Add(patience)) // what a connection cannot set, it does not bound
		if _, err := w.Write(part); err != nil {
			return // the client has left
		}
	}
}

func compressed(body []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // a valid level
	_, _ = z.Write(body)                            // to memory
	_ = z.Close()
	return b.Bytes()
}

func (s *Server) announceLimits(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.limits.announce(w.Header())
		next.ServeHTTP(w, r)
	})
}

// unrouted measures every request, and answers those that no operation is for.
func (s *Server) unrouted(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler, pattern := mux.Handler(r)
		done := s.metrics.begin(cmp.Or(pattern, "none"))
		status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() { done(status.status) }()
		if pattern != "" {
			mux.ServeHTTP(status, r)
			return
		}
		dropped := &dropWriter{header: http.Header{}, status: http.StatusOK}
		handler.ServeHTTP(dropped, r)
		p := &problem{status: http.StatusNotFound, kind: "not-found", detail: "there is no such path; see /openapi.yaml"}
		if dropped.status == http.StatusMethodNotAllowed {
			status.Header().Set("Allow", dropped.header.Get("Allow"))
			p = &problem{
				status: http.StatusMethodNotAllowed, kind: "method",
				detail: "this path takes " + dropped.header.Get("Allow") + "; see /openapi.yaml",
			}
		}
		s.refuse(status, r, p)
	})
}

// survive answers a request whose handler panicked and logs where.
func (s *Server) survive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == http.ErrAbortHandler { //nolint:errorlint // it is this very value, see http.ErrAbortHandler
				panic(v)
			}
			if v != nil {
				s.refuse(w, r, fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// dropWriter takes an answer that nobody gets.
type dropWriter struct {
	header http.Header
	status int
}

func (w *dropWriter) Header() http.Header         { return w.header }
func (w *dropWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *dropWriter) WriteHeader(status int)      { w.status = status }
