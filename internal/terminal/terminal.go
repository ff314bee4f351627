// Package terminal is how programs of Kubernaut write for people: results to
// one stream, talk to the other, colour only where somebody looks at it.
package terminal

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Streams are the three streams of a command. Out carries results, which other
// programs may read; Err carries talk.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// OutPaint and ErrPaint colour what goes to Out and to Err.
	OutPaint, ErrPaint Paint
}

// System returns the process's own streams. Each is coloured when it is a
// terminal, unless NO_COLOR is set or TERM says dumb.
func System() Streams {
	return Streams{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		OutPaint: paintFor(os.Stdout), ErrPaint: paintFor(os.Stderr),
	}
}

func paintFor(f *os.File) Paint {
	on := term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return Paint(on)
}

// Say writes one line of talk.
func (s Streams) Say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.Err, format+"\n", args...)
}

// Paint colours texts, or leaves them as they are when it is false.
type Paint bool

// Good is for what is as it should be.
func (p Paint) Good(s string) string { return p.in("32", s) }

// Bad is for what failed.
func (p Paint) Bad(s string) string { return p.in("31", s) }

// Warn is for what people should look at.
func (p Paint) Warn(s string) string { return p.in("33", s) }

// Faint is for what can be skipped.
func (p Paint) Faint(s string) string { return p.in("2", s) }

// Bold is for headings.
func (p Paint) Bold(s string) string { return p.in("1", s) }

// Accent is for names of things.
func (p Paint) Accent(s string) string { return p.in("36", s) }

func (p Paint) in(code, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}
