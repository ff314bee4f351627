package bringup

import (
	"os"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/environment/progress"
)

// running is the first event of a step that runs and has said something that
// begins with note.
func running(step, note string) func(progress.Event) bool {
	return func(e progress.Event) bool {
		return e.Step == step && e.State == progress.Running && strings.HasPrefix(e.Note, note)
	}
}

func ready(step string) func(progress.Event) bool {
	return func(e progress.Event) bool { return e.Step == step && e.State == progress.Ready }
}

// TestKilledAtAnyMomentItGoesOn kills `env up` at one moment after the other,
// each time where the last one had come to, and then lets it come to its end.
func TestKilledAtAnyMomentItGoesOn(t *testing.T) {
	if os.Getenv("KUBERNAUT_TEST") != "full" {
		t.Skip("takes minutes: run make test-full")
	}
	e := needed(t, "killed").forgotten()
	for _, moment := range []struct {
		name string
		at   func(progress.Event) bool
	}{
		{"before anything runs", func(e progress.Event) bool { return e.State == progress.Planned }},
		{"while the node starts", running("cluster", "")},
		{"when the node is ready", ready("cluster")},
		{"while images are loaded", running("load-tekton", "loading")},
		{"while passwords are made", running("secrets", "")},
		{"while Tekton's kinds are made", running("tekton-definitions", "applying")},
		{"while Tekton starts", running("tekton", "Deployment")},
		{"while its webhook fills itself in", running("tekton-webhook", "")},
		{"while the schema is migrated", running("migration", "")},
		{"while the controller starts", running("controller", "")},
	} {
		if !e.killedAt(moment.at) {
			t.Errorf("it was not killed %s: that moment never came", moment.name)
		}
	}
	e.run("up", "--progress", "plain")
	e.run("status")
	if r := e.report(); !r.Ready {
		t.Errorf("not everything is ready: %+v", r)
	}
}

// TestNodeThatWasKilledIsBroughtUpAgain ends the node with all that runs in it, as
// the abrupt end of a machine would. What was ready then is not taken for ready.
func TestNodeThatWasKilledIsBroughtUpAgain(t *testing.T) {
	if os.Getenv("KUBERNAUT_TEST") != "full" {
		t.Skip("takes minutes: run make test-full")
	}
	e := needed(t, "power-cut")
	e.run("up", "--progress", "plain")
	for range 3 {
		before := e.containers()
		e.killNode()
		e.run("up", "--progress", "plain")
		for id, ready := range e.containers() {
			if _, old := before[id]; ready && old {
				t.Errorf("%s ended with the node and is taken for ready", id)
			}
		}
		e.run("status")
		if r := e.report(); !r.Ready {
			t.Errorf("not everything is ready: %+v", r)
		}
	}
	e.works()
}

// TestTwoEnvironmentsSideBySide brings a part of each up, and takes one down
// beside the other.
func TestTwoEnvironmentsSideBySide(t *testing.T) {
	if os.Getenv("KUBERNAUT_TEST") != "full" {
		t.Skip("takes minutes: run make test-full")
	}
	a, b := needed(t, "side-a").forgotten(), needed(t, "side-b").forgotten()
	a.run("up", "datastorage", "--progress", "plain")
	b.run("up", "redis", "--progress", "plain")
	if string(a.run("kubeconfig")) == string(b.run("kubeconfig")) {
		t.Error("both have the same kubeconfig")
	}
	b.down()
	a.run("up", "datastorage", "--progress", "plain")
	if r := a.report(); !r.Ready || r.WallSeconds > 60 {
		t.Errorf("beside another one that ended it is not whole any more: %+v", r)
	}
}
