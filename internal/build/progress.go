package build

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// meter counts the packages of one build while Go names them.
type meter struct {
	total    int    // packages to compile
	expected timing // of this program
	started  time.Time

	mu      sync.Mutex
	done    int // packages that Go has begun
	last    time.Time
	current string // the package begun last, or the module being downloaded
}

const sayEvery = time.Second

func newMeter(total int, expected timing) *meter {
	now := time.Now()
	return &meter{total: total, expected: expected, started: now, last: now}
}

// follow begins to tell say, once a second, how far the build is.
func (m *meter) follow(say func(string)) follower {
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(sayEvery)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case now := <-tick.C:
				say(m.note(now))
			}
		}
	})
	return follower{line: m.line, end: func() { close(stop); done.Wait() }}
}

// line takes in one line of Go's output.
func (m *meter) line(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case isDownload(text):
		m.current = "downloading " + strings.TrimPrefix(text, "go: downloading ")
	case isPackage(text):
		m.current, m.done, m.last = "now "+text, m.done+1, time.Now()
	}
}

// note says how far the build is.
func (m *meter) note(now time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var parts []string
	switch {
	case m.total > 0 && m.done >= m.total-1: // Go does not say when it links
		parts = append(parts, "linking")
	case m.total > 0:
		parts = append(parts, fmt.Sprintf("compiled %d of about %d packages", max(0, m.done-1), m.total))
		fallthrough
	default:
		if m.current != "" {
			parts = append(parts, m.current)
		}
	}
	spent := rounded(now.Sub(m.started))
	if m.total == 0 {
		return strings.Join(append(parts, spent+" so far"), "; ")
	}
	total := time.Duration(m.total)*m.expected.PerPackage + m.expected.Link
	return strings.Join(append(parts, fmt.Sprintf("%s of about %s", spent, rounded(total))), "; ")
}

// measured returns what this build took. A build of few packages says nothing
// about the time for one.
func (m *meter) measured() timing {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := timing{Link: time.Since(m.last)}
	if m.done >= 100 {
		t.PerPackage = m.last.Sub(m.started) / time.Duration(m.done)
	}
	return t
}

func rounded(d time.Duration) string { return d.Round(time.Second).String() }
