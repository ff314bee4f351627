// Package enginetest is the contract of engine.Engine: a suite that every engine
// passes, and a scripted fake that passes it too, so that tests on the fake are
// true.
//
//	suite ──► Engine ──► its world ◄── Play: what happens to a run
package enginetest

import (
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/uuid"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/execution"
)

// Event is something that happens to a run.
type Event string

// The events.
const (
	Begins      Event = "begins"        // code of the workflow starts
	Succeeds    Event = "succeeds"      // it ends well
	Fails       Event = "fails"         // it exits with FailsWith
	TimesOut    Event = "times out"     // the engine ends it because its time is over
	Stops       Event = "stops"         // everything that was asked to stop has stopped
	IsDeleted   Event = "is deleted"    // somebody asks for its deletion; our finalizer holds it
	IsRemoved   Event = "is removed"    // by force, finalizers and all; its parts go on
	LosesItsPod Event = "loses a pod"   // somebody deletes a pod in which code has started
	IsTaken     Event = "name is taken" // somebody else has a run of this name
)

// FailsWith is the exit code of a run that fails.
const FailsWith = 3

// Stage is an engine and the world in which it acts.
type Stage struct {
	Engine engine.Engine
	// Spec is the wish for a run. Its name and execution are those of the ref.
	Spec func(engine.Ref) engine.Spec
	// Play makes something happen to a run, and returns when it has.
	Play func(*testing.T, engine.Ref, Event)
	// Ref names a run that nobody has named yet. nil: by chance.
	Ref func(*testing.T) engine.Ref
	// Slow worlds take a while to show what happened; this one waits until ok.
	// nil: what happened is shown at once.
	Until func(t *testing.T, what string, ok func() error)
}

// Run is the contract.
func Run(t *testing.T, s Stage) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*play)
	}{
		{"AbsenceIsReadPastTheCaches", absence},
		{"StartingTwiceIsOneRun", startTwice},
		{"AStrangersNameIsRefusedAndLeftAlone", stranger},
		{"CodeHasStartedWhenItBegins", codeStarts},
		{"ARunThatSucceeds", succeeds},
		{"AFailureNamesItsStepAndExitCode", fails},
		{"ATimeoutIsTold", timesOut},
		{"CancelGracefullyThenAtOnce", cancel},
		{"CancelBeforeItBegan", cancelEarly},
		{"WhatHasEndedIsNotCancelled", cancelLate},
		{"AnOccupiedNameRunsNothing", occupy},
		{"ATakenNameIsOccupiedAlready", occupyTaken},
		{"ADeletedRunStaysUntilItIsLetGo", deleted},
		{"PartsOfARemovedRunAreStopped", removed},
		{"ALostPodIsNoticed", losesPod},
		{"NothingIsOwedToARunThatIsAbsent", nothingThere},
	} {
		t.Run(c.name, func(t *testing.T) {
			ref := s.Ref
			if ref == nil {
				ref = byChance
			}
			c.test(&play{T: t, stage: s, ref: ref(t)})
		})
	}
}

func byChance(*testing.T) engine.Ref {
	id := uuid.NewUUID()
	return engine.Ref{Name: "play-" + string(id)[:8], Execution: id}
}

// play is one test: a run that may or may not exist.
type play struct {
	*testing.T
	stage Stage
	ref   engine.Ref
}

func (p *play) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *play) start() { p.Helper(); p.must(p.stage.Engine.Start(p.Context(), p.stage.Spec(p.ref))) }

func (p *play) happens(e Event) { p.Helper(); p.stage.Play(p.T, p.ref, e) }

func (p *play) cancel(mode v1alpha1.CancelMode, reason v1alpha1.FailureReason) {
	p.Helper()
	stop := execution.Stop{Mode: mode, Reason: reason}
	err := p.stage.Engine.Cancel(p.Context(), p.ref, stop)
	for apierrors.IsConflict(err) { // nothing has happened: somebody else wrote, and it is asked again
		err = p.stage.Engine.Cancel(p.Context(), p.ref, stop)
	}
	p.must(err)
}

// is waits until a fresh look at the run shows what is wanted.
func (p *play) is(what string, ok func(execution.Run) bool) execution.Run {
	p.Helper()
	var run execution.Run
	look := func() error {
		var err error
		if run, err = p.stage.Engine.Observe(p.Context(), p.ref, engine.Fresh); err != nil {
			return err
		}
		if !run.Fresh {
			return errors.New("a fresh observation does not say that it is")
		}
		if !ok(run) {
			return errors.New("it is not " + what)
		}
		return nil
	}
	if p.stage.Until != nil {
		p.stage.Until(p.T, what, look)
	} else if err := look(); err != nil {
		p.Fatalf("%s: %+v", err, run)
	}
	return run
}

func absence(p *play) {
	run, err := p.stage.Engine.Observe(p.Context(), p.ref, engine.Cached)
	p.must(err)
	if run.State != execution.RunAbsent || !run.Fresh || run.CodeStarted || run.Name != p.ref.Name {
		p.Errorf("%+v, want an absent run, read past the caches", run)
	}
}

func startTwice(p *play) {
	p.start()
	first := p.is("active", func(r execution.Run) bool { return r.State == execution.RunActive })
	p.start()
	second := p.is("active", func(r execution.Run) bool { return r.State == execution.RunActive })
	if first.UID == "" || first.UID != second.UID {
		p.Errorf("UIDs %q and %q, want one", first.UID, second.UID)
	}
	if !second.Ours || !second.Kept || second.Occupant || second.Created.IsZero() || second.Stopping != "" {
		p.Errorf("%+v, want ours, kept by our finalizer and no occupant", second)
	}
}

func stranger(p *play) {
	p.happens(IsTaken)
	err := p.stage.Engine.Start(p.Context(), p.stage.Spec(p.ref))
	if refused, ok := errors.AsType[*engine.Refused](err); !ok || refused.Reason != v1alpha1.FailureConfigurationError || refused.Passing {
		p.Fatalf("starting: %v, want a refusal for good", err)
	}
	before := p.is("there", func(r execution.Run) bool { return r.State != execution.RunAbsent && !r.Ours })
	if p.stage.Engine.Cancel(p.Context(), p.ref, execution.Stop{Mode: v1alpha1.CancelImmediate, Reason: v1alpha1.FailureCancelled}) == nil {
		p.Error("a stranger's run is cancelled without a word")
	}
	p.must(p.stage.Engine.LetGo(p.Context(), p.ref))
	after := p.is("there", func(r execution.Run) bool { return r.State != execution.RunAbsent && !r.Ours })
	if after.Stopping != before.Stopping || after.Deleting || after.UID != before.UID {
		p.Errorf("it was touched: before %+v, after %+v", before, after)
	}
}

func codeStarts(p *play) {
	p.start()
	if run := p.is("active", func(r execution.Run) bool { return r.State == execution.RunActive }); run.CodeStarted && p.stage.Until == nil {
		p.Errorf("code has started before it began: %+v", run)
	}
	p.happens(Begins)
	p.is("active with code that has started", func(r execution.Run) bool {
		return r.State == execution.RunActive && r.CodeStarted && len(r.Alive) > 0 && r.LostChild == ""
	})
}

func succeeds(p *play) {
	p.start()
	p.happens(Begins)
	p.happens(Succeeds)
	run := p.is("succeeded", func(r execution.Run) bool { return r.State == execution.RunFinished && r.Succeeded })
	if !run.CodeStarted || run.Finished.IsZero() || run.LostChild != "" {
		p.Errorf("%+v, want a time of its end, and that code had started", run)
	}
}

func fails(p *play) {
	p.start()
	p.happens(Begins)
	p.happens(Fails)
	run := p.is("failed", func(r execution.Run) bool { return r.State == execution.RunFinished && !r.Succeeded })
	f := execution.Classify(run, nil)
	if f.Reason != v1alpha1.FailureTaskFailed || f.Task == "" || f.Step == "" || f.ExitCode == nil || *f.ExitCode != FailsWith || !run.CodeStarted {
		p.Errorf("%+v of %+v, want TaskFailed with task, step and exit code %d", f, run, FailsWith)
	}
}

func timesOut(p *play) {
	p.start()
	p.happens(Begins)
	p.happens(TimesOut)
	run := p.is("timed out", func(r execution.Run) bool { return r.State == execution.RunFinished && r.TimedOut })
	if f := execution.Classify(run, nil); f.Reason != v1alpha1.FailureDeadlineExceeded || !run.CodeStarted || run.Cancelled {
		p.Errorf("%+v of %+v, want DeadlineExceeded", f, run)
	}
}

func cancel(p *play) {
	p.start()
	p.happens(Begins)
	p.cancel(v1alpha1.CancelGraceful, v1alpha1.FailureDeadlineExceeded)
	asked := p.is("asked to stop", func(r execution.Run) bool { return r.Stopping == v1alpha1.CancelGraceful })
	if asked.StopReason != v1alpha1.FailureDeadlineExceeded || asked.LostChild != "" {
		p.Errorf("%+v, want the reason it was given, and no part lost", asked)
	}
	p.cancel(v1alpha1.CancelImmediate, v1alpha1.FailureCancelled)
	asked = p.is("asked to stop at once", func(r execution.Run) bool { return r.Stopping == v1alpha1.CancelImmediate })
	if asked.StopReason != v1alpha1.FailureDeadlineExceeded {
		p.Errorf("stop reason %s, want the first one", asked.StopReason)
	}
	p.cancel(v1alpha1.CancelGraceful, v1alpha1.FailureCancelled) // late: by somebody who has not seen the other request
	p.is("still asked to stop at once", func(r execution.Run) bool { return r.Stopping == v1alpha1.CancelImmediate })
	p.happens(Stops)
	run := p.is("stopped", func(r execution.Run) bool { return r.State == execution.RunFinished && len(r.Alive) == 0 })
	if f := execution.Classify(run, nil); !run.Cancelled || f.Reason != v1alpha1.FailureDeadlineExceeded || !run.CodeStarted {
		p.Errorf("%+v of %+v, want it cancelled for the reason it was given", f, run)
	}
}

func cancelEarly(p *play) {
	p.start()
	p.cancel(v1alpha1.CancelImmediate, v1alpha1.FailureCancelled)
	p.happens(Stops)
	run := p.is("stopped", func(r execution.Run) bool { return r.State == execution.RunFinished && len(r.Alive) == 0 })
	if f := execution.Classify(run, nil); f.Reason != v1alpha1.FailureCancelled || run.CodeStarted && p.stage.Until == nil {
		p.Errorf("%+v of %+v, want Cancelled before code had started", f, run)
	}
}

func cancelLate(p *play) {
	p.start()
	p.happens(Begins)
	p.happens(Succeeds)
	p.is("succeeded", func(r execution.Run) bool { return r.Succeeded })
	p.cancel(v1alpha1.CancelImmediate, v1alpha1.FailureCancelled)
	p.is("still succeeded", func(r execution.Run) bool { return r.State == execution.RunFinished && r.Succeeded })
}

func occupy(p *play) {
	spec := engine.Spec{Ref: p.ref, ExecutionName: "team/gone", Record: "record-0123", Target: "team/deployment.apps/x"} // of a holder that vanished no more is known
	p.must(p.stage.Engine.Occupy(p.Context(), spec))
	p.must(p.stage.Engine.Occupy(p.Context(), spec))
	p.start() // late: it finds the name taken, and that is no error
	run := p.is("an occupant", func(r execution.Run) bool { return r.Occupant && r.Ours })
	if run.CodeStarted || len(run.Alive) > 0 || !run.Kept {
		p.Errorf("%+v, want that nothing of it can act and that its name is kept", run)
	}
}

func occupyTaken(p *play) {
	p.start()
	p.must(p.stage.Engine.Occupy(p.Context(), p.stage.Spec(p.ref)))
	p.is("a run as before", func(r execution.Run) bool {
		return r.State == execution.RunActive && !r.Occupant && r.Stopping == ""
	})
}

func deleted(p *play) {
	p.start()
	p.happens(Begins)
	p.happens(IsDeleted)
	p.is("being deleted, and kept", func(r execution.Run) bool {
		return r.Deleting && r.Kept && r.State == execution.RunActive && r.CodeStarted
	})
	p.cancel(v1alpha1.CancelImmediate, v1alpha1.FailureExternallyDeleted)
	p.happens(Stops)
	p.is("stopped", func(r execution.Run) bool { return len(r.Alive) == 0 })
	p.must(p.stage.Engine.LetGo(p.Context(), p.ref))
	p.is("gone", func(r execution.Run) bool { return r.State == execution.RunAbsent })
}

func removed(p *play) {
	p.start()
	p.happens(Begins)
	p.is("active", func(r execution.Run) bool { return r.CodeStarted })
	p.happens(IsRemoved)
	p.is("gone, with parts that go on", func(r execution.Run) bool {
		return r.State == execution.RunAbsent && len(r.Alive) > 0 && len(r.Orphans) > 0
	})
	p.cancel(v1alpha1.CancelImmediate, v1alpha1.FailureExternallyDeleted)
	p.is("gone, with parts that were asked to stop", func(r execution.Run) bool { return len(r.Orphans) == 0 })
	p.happens(Stops)
	p.is("gone with all its parts", func(r execution.Run) bool { return r.State == execution.RunAbsent && len(r.Alive) == 0 })
}

func losesPod(p *play) {
	p.start()
	p.happens(Begins)
	p.is("active", func(r execution.Run) bool { return r.CodeStarted })
	p.happens(LosesItsPod)
	run := p.is("without its pod", func(r execution.Run) bool { return r.LostChild != "" })
	if run.LostReason != v1alpha1.FailureExternallyDeleted || !run.CodeStarted {
		p.Errorf("%+v, want ExternallyDeleted after code had started", run)
	}
}

func nothingThere(p *play) {
	p.cancel(v1alpha1.CancelImmediate, v1alpha1.FailureCancelled)
	p.must(p.stage.Engine.LetGo(p.Context(), p.ref))
	p.is("absent", func(r execution.Run) bool { return r.State == execution.RunAbsent })
}
