package kind

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"sigs.k8s.io/kind/pkg/exec"
	"sigs.k8s.io/kind/pkg/log"
)

// talk hears what kind says to its users, and passes on which phase it is in.
type talk struct{ say func(note string) }

var _ log.Logger = talk{}

// V drops what is for those who look for a mistake in kind.
func (t talk) V(level log.Level) log.InfoLogger {
	if level > 0 {
		return log.NoopInfoLogger{}
	}
	return t
}

// Enabled is what kind asks before it makes a message.
func (t talk) Enabled() bool { return true }

// Info passes on the beginning of a phase, and no end of one.
func (t talk) Info(message string) {
	phase := strings.TrimSuffix(strings.TrimSpace(message), "...")
	if strings.HasPrefix(phase, "✓") {
		return
	}
	phase = strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII { // pictures
			return -1
		}
		return r
	}, phase)
	if phase = strings.TrimSpace(phase); phase != "" {
		t.say("kind: " + phase)
	}
}

// Infof is Info with a format, and so are the others.
func (t talk) Infof(format string, args ...any) { t.Info(fmt.Sprintf(format, args...)) }

// Warn is what went wrong and is gone on from.
func (t talk) Warn(message string) { t.Info(message) }

// Warnf is Warn with a format.
func (t talk) Warnf(format string, args ...any) { t.Infof(format, args...) }

// Error is what kind tells beside the error it returns.
func (t talk) Error(message string) { t.Info(message) }

// Errorf is Error with a format.
func (t talk) Errorf(format string, args ...any) { t.Infof(format, args...) }

// explained adds what a command of the engine printed to an error of kind, which
// only tells with which status it ended, and what to do where nothing is pulled.
func explained(err error) error {
	var failed *exec.RunError
	if !errors.As(err, &failed) {
		return err
	}
	if printed := lastLines(string(failed.Output)); printed != "" {
		err = fmt.Errorf("%w: %s", err, printed)
	}
	if slices.Contains(failed.Command, "pull") {
		return fmt.Errorf("%w; where the node image cannot be pulled, give the engine one of kind's by hand and name it with --node-image", err)
	}
	return err
}

// lastLines are the last ones of a program's output that are for people: Go's
// stack traces, which kubeadm ends with, are not.
func lastLines(output string) string {
	const enough = 5
	var kept []string
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\r\n")
		trace := strings.HasPrefix(line, "\t") || strings.Contains(line, "/") && !strings.Contains(line, " ") || strings.HasPrefix(line, "runtime.")
		if line != "" && !trace {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept[max(0, len(kept)-enough):], "\n")
}
