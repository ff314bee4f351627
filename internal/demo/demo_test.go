package demo

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kubernaut.ai/kubernaut/internal/environment/report"
)

// written notes when lines came.
type written struct {
	began time.Time
	lines []string
	at    []time.Duration
}

func (w *written) Write(p []byte) (int, error) {
	w.lines = append(w.lines, strings.TrimSpace(string(p)))
	w.at = append(w.at, time.Since(w.began))
	return len(p), nil
}

func TestNobodyIsLeftAloneForMoreThanFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &written{began: time.Now()}
		h := &heart{out: out}
		plain := func(text string) string { return text }
		defer h.doing("the remedy heals it")()
		stop := h.beat(plain)
		time.Sleep(11 * time.Second) //nolint:forbidigo // of the bubble's time
		back := h.doing("waiting until payment-api is healthy")
		time.Sleep(6 * time.Second) //nolint:forbidigo // of the bubble's time
		back()
		_, _ = h.Write([]byte("it is healthy\n"))
		time.Sleep(3 * time.Second) //nolint:forbidigo // of the bubble's time
		stop()
		last := time.Duration(0)
		for i, at := range append(out.at, time.Since(out.began)) {
			if at-last > 5*time.Second {
				t.Errorf("silence for %s before line %d of %q", at-last, i, out.lines)
			}
			last = at
		}
		text := strings.Join(out.lines, "\n")
		for _, want := range []string{"… the remedy heals it (4s)", "… waiting until payment-api is healthy (", "it is healthy"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing in:\n%s", want, text)
			}
		}
	})
}

func TestHealedWithin(t *testing.T) {
	warm := report.Report{Steps: []report.Step{{Name: "build-kubernetes", Seconds: 0.2}, {Name: "cluster", Seconds: 20}}}
	cold := report.Report{Steps: []report.Step{{Name: "build-kubernetes", Seconds: 700}}}
	for _, c := range []struct {
		why, want string
		report    report.Report
	}{
		{"nothing was built", "healed 1m12s after the start (limit 1m30s)", warm},
		{"something was", "healed 1m12s after the start, with what had to be compiled (limit without: 1m30s)", cold},
	} {
		if got := healedAfter(72*time.Second, c.report); got != c.want {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
	}
}

func TestCommandsOfAnotherEnvironmentNameIt(t *testing.T) {
	text := "kubernaut env status; then run it again: kubernaut demo; kubernaut get -n payment"
	if got := Named(text, "local"); got != text {
		t.Errorf("the default environment is named: %s", got)
	}
	if got, want := Named(text, "other"), "kubernaut env status --name other; then run it again: kubernaut demo --name other; kubernaut get -n payment"; got != want {
		t.Errorf("got %s", got)
	}
}
