package datastorage

import (
	"bufio"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"time"
)

// patience is how long a client may take to read what is sent to it before it is
// given up.
const patience = 30 * time.Second

// stream is an answer that is sent while it is made.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	buffer  *bufio.Writer
	zip     *gzip.Writer // nil: not compressed
	begun   bool
}

// newStream prepares an answer. Its headers are sent with its first bytes, so that
// until then an error is still answered as one.
func newStream(w http.ResponseWriter, r *http.Request, media string, compress bool) *stream {
	s := &stream{w: w, control: http.NewResponseController(w)}
	// A stream may last longer than any other request. What a connection cannot set,
	// it does not bound.
	_ = s.control.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", media)
	w.Header().Set("Cache-Control", "no-store")
	var to io.Writer = begun{s}
	if compress && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Add("Vary", "Accept-Encoding")
		s.zip, _ = gzip.NewWriterLevel(to, gzip.BestSpeed) // a valid level
		to = s.zip
	}
	s.buffer = bufio.NewWriterSize(to, 64<<10)
	return s
}

// begun marks the stream when bytes go to the client, who must take them in time.
type begun struct{ *stream }

func (b begun) Write(p []byte) (int, error) {
	b.begun = true
	_ = b.control.SetWriteDeadline(time.Now().Add(patience))
	return b.w.Write(p)
}

// Write takes bytes, which may wait until there are more.
func (s *stream) Write(p []byte) (int, error) { return s.buffer.Write(p) }

// flush sends what was written.
func (s *stream) flush() error {
	if err := s.buffer.Flush(); err != nil {
		return err
	}
	if s.zip != nil {
		if err := s.zip.Flush(); err != nil {
			return err
		}
	}
	s.begun = true
	return s.control.Flush()
}

// end sends what is left.
func (s *stream) end() error {
	if err := s.buffer.Flush(); err != nil {
		return err
	}
	if s.zip != nil {
		return s.zip.Close()
	}
	return nil
}

// fail tells the client of an error: with an answer where nothing was sent, else by
// breaking off, which no client can take for the end.
func (s *Server) fail(out *stream, r *http.Request, err error) {
	if !out.begun {
		for _, name := range []string{"Content-Encoding", "Cache-Control", "Trailer"} {
			out.w.Header().Del(name)
		}
		s.refuse(out.w, r, err)
		return
	}
	s.log.Warn("Stream broken off", "path", r.URL.Path, "error", err)
	panic(http.ErrAbortHandler)
}
