package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Size is the room a terminal offers now.
type Size struct{ Width, Height int }

// frameEvery is how often the live part is drawn again while nothing happens.
const frameEvery = 200 * time.Millisecond

// Terminal draws live: finished steps scroll by, the running and waiting ones
// stay below and are drawn again as time passes. size is asked at every drawing.
func Terminal(w io.Writer, size func() Size) Display {
	t := &terminal{out: w, size: size, stop: make(chan struct{}), done: make(chan struct{})}
	go t.tick()
	return t
}

type terminal struct {
	mu    sync.Mutex
	out   io.Writer
	size  func() Size
	board Board
	drawn int  // lines of the live part on the screen
	over  bool // the run has ended: nothing is live any more
	once  sync.Once
	stop  chan struct{}
	done  chan struct{}
}

func (t *terminal) Show(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.board.Apply(e)
	switch {
	case s == nil && e.State.Ended():
		t.over = true
		t.draw(nil, e.At)
	case s == nil && e.Note != "":
		t.draw([]string{e.Note}, e.At)
	case s != nil && e.State.Ended() && e.State != Skipped:
		t.draw([]string{endLine(s, e.At)}, e.At)
	case s != nil && e.State == Running && e.Note == "":
		t.draw(nil, e.At)
	}
}

func (t *terminal) Close() {
	t.once.Do(func() { close(t.stop) })
	<-t.done
}

func (t *terminal) tick() {
	defer close(t.done)
	ticker := time.NewTicker(frameEvery)
	defer ticker.Stop()
	for {
		select {
		case <-t.stop:
			return
		case now := <-ticker.C:
			t.mu.Lock()
			t.draw(nil, now)
			t.mu.Unlock()
		}
	}
}

// draw replaces the live part: first the lines that stay, then what is live now.
func (t *terminal) draw(stay []string, now time.Time) {
	var live []string
	if !t.over && len(t.board.Steps) > 0 {
		live = frame(&t.board, now, t.size())
	}
	if len(stay)+len(live)+t.drawn == 0 {
		return
	}
	var out strings.Builder
	if t.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", t.drawn)
	}
	out.WriteString("\r\x1b[J")
	for _, line := range append(stay, live...) {
		out.WriteString(line + "\r\n")
	}
	t.drawn = len(live)
	_, _ = io.WriteString(t.out, out.String())
}

// frame is the live part: a line of totals, what runs, what waits for what.
func frame(b *Board, now time.Time, size Size) []string {
	lines := []string{totals(b, now)}
	for _, s := range b.In(Running) {
		lines = append(lines, fmt.Sprintf("  ● %-24s %s%s%s", s.Name, Duration(s.Took(now)), about(s, now), gap(s.Note)))
	}
	for _, s := range b.In(Queued, Planned) {
		lines = append(lines, fmt.Sprintf("  ○ %-24s waits for %s", s.Name, b.WaitsFor(s)))
	}
	if room := size.Height - 2; room > 2 && len(lines) > room {
		hidden := len(lines) - room + 1
		lines = append(lines[:room-1], fmt.Sprintf("    … and %d more", hidden))
	}
	for i, line := range lines {
		lines[i] = cut(line, size.Width)
	}
	return lines
}

func totals(b *Board, now time.Time) string {
	line := fmt.Sprintf("%s · %d of %d ready", Duration(now.Sub(b.Began)), len(b.In(Ready)), len(b.Steps))
	if left := b.Left(now); left > 0 {
		line += " · about " + Duration(left) + " to go"
	}
	return line
}

var marks = map[State]string{Ready: "✔", Failed: "✘", Stopped: "–"}

func endLine(s *Step, now time.Time) string {
	line := fmt.Sprintf("  %s %-24s %s", marks[s.State], s.Name, Duration(s.Took(now)))
	if s.State == Failed {
		return line + "  " + strings.ReplaceAll(s.Error, "\n", "\r\n"+strings.Repeat(" ", 6))
	}
	return line + gap(s.Note)
}

func gap(text string) string {
	if text == "" {
		return ""
	}
	return "  " + text
}

// cut shortens a line to the width, so that it never wraps: a wrapped line
// would make the live part taller than what is moved back over.
func cut(line string, width int) string {
	if width <= 1 || utf8.RuneCountInString(line) < width {
		return line
	}
	return string([]rune(line)[:width-2]) + "…"
}
