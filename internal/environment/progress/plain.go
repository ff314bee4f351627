package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Silence is after how long a display that has said nothing speaks. A busy
// machine wakes it late, and nobody shall be left alone for more than 5 s.
const Silence = 4 * time.Second

// Plain writes for logs and CI: a line for each change, and when nothing
// changes for a while, one that says what runs and what waits.
func Plain(w io.Writer) Display {
	p := &plain{out: w, stop: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{}, 1)}
	go p.beat()
	return p
}

type plain struct {
	mu      sync.Mutex
	out     io.Writer
	board   Board
	changed chan struct{} // a line was written: the silence begins anew
	once    sync.Once
	stop    chan struct{}
	done    chan struct{}
}

func (p *plain) Show(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := Planned
	if s, ok := p.board.index[e.Step]; ok {
		before = s.State
	}
	step := p.board.Apply(e)
	line := changeLine(&p.board, step, e)
	if line == "" || (step != nil && before == e.State) {
		return // a note alone is shown by the next heartbeat
	}
	fmt.Fprintln(p.out, line)
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *plain) Close() {
	p.once.Do(func() { close(p.stop) })
	<-p.done
}

func (p *plain) beat() {
	defer close(p.done)
	silence := time.NewTimer(Silence)
	defer silence.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-p.changed:
		case now := <-silence.C:
			p.mu.Lock()
			for _, line := range heartbeat(&p.board, now) {
				fmt.Fprintln(p.out, line)
			}
			p.mu.Unlock()
		}
		silence.Reset(Silence)
	}
}

// changeLine is what is written for an event, empty when it is no news.
func changeLine(b *Board, s *Step, e Event) string {
	at := fmt.Sprintf("%8s  ", Duration(e.At.Sub(b.Began)))
	if s == nil {
		return strings.TrimRight(at+strings.TrimSpace(string(e.State)+"  "+e.Note), " ")
	}
	line := at + fmt.Sprintf("%-8s %s", s.State, s.Name)
	switch s.State {
	case Running:
		if s.Expected > 0 {
			line += "  about " + Duration(s.Expected)
		}
		return line
	case Ready:
		return line + "  in " + Duration(s.Took(e.At)) + colon(e.Note)
	case Failed:
		return line + "  after " + Duration(s.Took(e.At)) + colon(indent(s.Error))
	case Stopped:
		return line + "  after " + Duration(s.Took(e.At))
	case Queued:
		return line + "  waits for " + b.WaitsFor(s)
	default:
		return ""
	}
}

// heartbeat says what runs, since when, and who waits for it.
func heartbeat(b *Board, now time.Time) []string {
	running := b.In(Running)
	at := fmt.Sprintf("%8s  ", Duration(now.Sub(b.Began)))
	if len(running) == 0 {
		return nil
	}
	lines := make([]string, 0, len(running)+1)
	for _, s := range running {
		lines = append(lines, fmt.Sprintf("%s%-8s %s  since %s%s%s", at, "…", s.Name, Duration(s.Took(now)), about(s, now), colon(s.Note)))
	}
	if waiting := b.In(Planned, Queued); len(waiting) > 0 {
		lines = append(lines, fmt.Sprintf("%s%-8s %s", at, "waiting", waitingList(b, waiting)))
	}
	return lines
}

func waitingList(b *Board, waiting []*Step) string {
	first := waiting[0]
	text := fmt.Sprintf("%s for %s", first.Name, b.WaitsFor(first))
	if len(waiting) > 1 {
		var rest []string
		for _, s := range waiting[1:] {
			rest = append(rest, s.Name)
		}
		text += "; then " + list(rest)
	}
	return text
}

func colon(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// indent keeps the lines of a longer error below its first one.
func indent(text string) string {
	return strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", 12))
}
