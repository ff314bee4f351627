package environment

import (
	"context"
	"errors"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/environment/progress"
)

// notes passes on what is shown, and ends the waiting.
type notes struct {
	cancel context.CancelFunc
	said   string
}

func (n *notes) say(note string) {
	n.said = note
	n.cancel()
}

func (n *notes) Show(e progress.Event) { n.say(e.Note) }

// Whoever finds another process at work says so, and waits only for as long as
// its caller does.
func TestWaitingForAnotherProcessIsTold(t *testing.T) {
	t.Setenv("KUBERNAUT_CACHE", t.TempDir())
	o := Options{Name: "test"}
	w, err := newWorld(o)
	if err != nil {
		t.Fatal(err)
	}
	release, err := w.lock(t.Context(), func(string) { t.Error("a free environment was called busy") })
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for name, work := range map[string]func(context.Context, *notes) error{
		"up":   func(ctx context.Context, n *notes) error { _, err := Up(ctx, o, n); return err },
		"down": func(ctx context.Context, n *notes) error { return Down(ctx, o, n.say) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		n := &notes{cancel: cancel}
		if err := work(ctx, n); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", name, err)
		}
		if want := "waiting for another process that works on environment test"; n.said != want {
			t.Errorf("%s says %q, want %q", name, n.said, want)
		}
	}
}

func TestAnEnvironmentThatDoesNotRunIsNamed(t *testing.T) {
	t.Setenv("KUBERNAUT_CACHE", t.TempDir())
	_, kubeconfigErr := Kubeconfig(t.Context(), "other")
	_, reportErr := LastReport("other")
	for _, err := range []error{kubeconfigErr, reportErr} {
		if !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "kubernaut env up --name other`") || strings.Contains(err.Error(), "env up`") {
			t.Errorf("got %v", err)
		}
	}
}
