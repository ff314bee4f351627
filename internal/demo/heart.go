package demo

import (
	"fmt"
	"io"
	"sync"
	"time"

	"kubernaut.ai/kubernaut/internal/environment/progress"
)

// heart is an output that does not stay silent: when nothing was written for a
// while, it says what is still being done.
type heart struct {
	mu      sync.Mutex
	out     io.Writer
	written time.Time
	what    string
	since   time.Time
}

// Write passes on what is written.
func (h *heart) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.written = time.Now()
	return h.out.Write(p)
}

// doing names what is done from now on, until it is called back.
func (h *heart) doing(what string) (back func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, since := h.what, h.since
	h.what, h.since = what, time.Now()
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.what, h.since = before, since
	}
}

// beat begins to speak into silence, until stop is called.
func (h *heart) beat(style func(string) string) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	h.mu.Lock()
	h.written = time.Now()
	h.mu.Unlock()
	go func() {
		defer close(ended)
		tick := time.NewTicker(progress.Silence / 8)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case now := <-tick.C:
				h.speak(now, style)
			}
		}
	}()
	return func() { close(end); <-ended }
}

func (h *heart) speak(now time.Time, style func(string) string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.written) < progress.Silence {
		return
	}
	h.written = now
	_, _ = fmt.Fprintln(h.out, style(fmt.Sprintf("  … %s (%.0fs)", h.what, now.Sub(h.since).Seconds())))
}
