package local

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// bench is a supervisor of one component, whose log is kept.
func bench(t *testing.T, c component) (*supervisor, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	return &supervisor{
		node: node{Dir: t.TempDir()}, log: slog.New(slog.NewTextHandler(&log, nil)),
		report: report{Components: []componentReport{{}}}, ready: map[string]chan struct{}{c.name: make(chan struct{})},
	}, &log
}

// TestNodeComesUpWithoutWhatCannotBeDoneFirst refuses for ever, as a webhook of
// the user that does not answer would.
func TestNodeComesUpWithoutWhatCannotBeDoneFirst(t *testing.T) {
	for name, first := range map[string]func(context.Context) error{
		"refused":   func(context.Context) error { return errors.New("no webhook answers") },
		"no answer": func(ctx context.Context) error { <-ctx.Done(); return errors.New("no webhook answers") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := component{name: apiServer, first: first}
				s, log := bench(t, c)
				began := time.Now()
				if err := s.firstTime(t.Context(), c); err != nil {
					t.Fatalf("it does not go on: %v", err)
				}
				if took := time.Since(began); took > firstPatience+askEvery {
					t.Errorf("it went on after %s", took)
				}
				if text := log.String(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, "no webhook answers") {
					t.Errorf("the log says %q", text)
				}
			})
		})
	}
}

func TestWhatIsDoneFirstEndsWithItsComponent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := component{name: apiServer, first: func(context.Context) error { return errors.New("not yet") }}
		s, log := bench(t, c)
		if err := s.firstTime(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if log.Len() > 0 {
			t.Errorf("the log says %q", log)
		}
	})
}
