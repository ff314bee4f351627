package progress

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var zero = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return zero.Add(time.Duration(seconds * float64(time.Second))) }

// events of a run in which tekton compiles while the cluster comes up, and the cluster fails.
func events() []Event {
	return []Event{
		{At: at(0), Step: "cluster", State: Planned, ExpectedSeconds: 12},
		{At: at(0), Step: "build-tekton", State: Planned, Weight: 2, ExpectedSeconds: 150},
		{At: at(0), Step: "build-dns", State: Planned, Weight: 1, ExpectedSeconds: 60},
		{At: at(0), Step: "tekton", State: Planned, After: []string{"cluster", "build-tekton"}, ExpectedSeconds: 15},
		{At: at(0), Step: "cluster", State: Running},
		{At: at(0), Step: "build-tekton", State: Running},
		{At: at(0), Step: "build-dns", State: Queued},
		{At: at(3), Step: "build-tekton", State: Running, Note: "compiled 812 of about 2691 packages"},
		{At: at(12), Step: "cluster", State: Failed, Error: "kubelet exited\nlast line: no space left"},
		{At: at(13), Step: "build-tekton", State: Stopped},
		{At: at(13), Step: "tekton", State: Skipped},
		{At: at(13), Step: "build-dns", State: Skipped},
		{At: at(13), State: Failed, Error: "cluster: kubelet exited"},
	}
}

func board(n int) *Board {
	b := &Board{}
	for _, e := range events()[:n] {
		b.Apply(e)
	}
	return b
}

func TestFrame(t *testing.T) {
	want := []string{
		"10.0s · 0 of 4 ready · about 2m35s to go",
		"  ● cluster                  10.0s of about 12.0s",
		"  ● build-tekton             10.0s of about 2m30s  compiled 812 of about 2691 packages",
		"  ○ build-dns                waits for free cores, busy with build-tekton",
		"  ○ tekton                   waits for cluster, build-tekton",
	}
	if diff := cmp.Diff(want, frame(board(8), at(10), Size{100, 40})); diff != "" {
		t.Error(diff)
	}
}

func TestFrameFitsTheTerminal(t *testing.T) {
	lines := frame(board(8), at(10), Size{Width: 30, Height: 6})
	if len(lines) != 4 {
		t.Errorf("%d lines on 6 rows, want 4", len(lines))
	}
	if last := lines[3]; last != "    … and 2 more" {
		t.Errorf("last line %q", last)
	}
	for _, line := range lines {
		if n := len([]rune(line)); n >= 30 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}

func TestPlainWritesChanges(t *testing.T) {
	var out bytes.Buffer
	p := Plain(&out)
	for _, e := range events() {
		p.Show(e)
	}
	p.Close()
	want := `    0.0s  running  cluster  about 12.0s
    0.0s  running  build-tekton  about 2m30s
    0.0s  queued   build-dns  waits for free cores, busy with build-tekton
   12.0s  failed   cluster  after 12.0s: kubelet exited
            last line: no space left
   13.0s  stopped  build-tekton  after 13.0s
   13.0s  failed
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestPlainIsNeverSilentForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := Plain(&out)
		for _, e := range events()[:8] {
			e.At = time.Now()
			p.Show(e)
		}
		out.Reset()
		<-time.After(Silence + time.Millisecond)
		synctest.Wait()
		p.Close()
		want := `    4.0s  …        cluster  since 4.0s of about 12.0s
    4.0s  …        build-tekton  since 4.0s of about 2m30s: compiled 812 of about 2691 packages
    4.0s  waiting  build-dns for free cores, busy with build-tekton; then tekton
`
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTerminalRedrawsBelowWhatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := Terminal(&out, func() Size { return Size{100, 40} })
		for _, e := range events()[:9] {
			d.Show(e)
		}
		d.Close()
		text := out.String()
		last := text[strings.LastIndex(text, "\x1b[J")+3:]
		first, rest, _ := strings.Cut(last, "\r\n")
		if first != "  ✘ cluster                  12.0s  kubelet exited" {
			t.Errorf("the failed step is shown as %q", first)
		}
		if strings.Contains(rest, "● cluster") || !strings.Contains(rest, "● build-tekton") {
			t.Errorf("below it stands\n%s", rest)
		}
	})
}

func TestTerminalMovesWhileNothingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := Terminal(&out, func() Size { return Size{100, 40} })
		for _, e := range events()[:8] {
			e.At = time.Now()
			d.Show(e)
		}
		<-time.After(4 * time.Second)
		synctest.Wait()
		d.Close()
		if !strings.Contains(out.String(), "● cluster                  4.0s") {
			t.Errorf("no line says that cluster runs since 4 s:\n%q", out.String())
		}
	})
}

func TestTerminalLeavesNothingLiveAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := Terminal(&out, func() Size { return Size{100, 40} })
		for _, e := range events() {
			d.Show(e)
		}
		<-time.After(time.Second)
		synctest.Wait()
		d.Close()
		if !strings.HasSuffix(out.String(), "\r\x1b[J") {
			t.Errorf("the last thing written is %q", out.String()[max(0, out.Len()-60):])
		}
	})
}

func TestJournalCanBeReadBack(t *testing.T) {
	var out bytes.Buffer
	j := JSON(&out)
	for _, e := range events() {
		j.Show(e)
	}
	got, err := Read(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(events(), got); diff != "" {
		t.Error(diff)
	}
}

func TestJournalOfAKilledProcess(t *testing.T) {
	var out bytes.Buffer
	j := JSON(&out)
	for _, e := range events() {
		j.Show(e)
	}
	got, err := Read(bytes.NewReader(out.Bytes()[:out.Len()-7]))
	if err != nil || len(got) != len(events())-1 {
		t.Errorf("%d events, %v; want all but the last", len(got), err)
	}
	_, err = Read(strings.NewReader("{}\nnot json\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "event 2 of the journal") {
		t.Errorf("a damaged journal: %v", err)
	}
}

func TestAllReachesEverySink(t *testing.T) {
	var a, b Recorder
	All(&a, &b).Show(events()[0])
	if len(a.Events()) != 1 || len(b.Events()) != 1 {
		t.Errorf("got %d and %d events", len(a.Events()), len(b.Events()))
	}
}

func TestDuration(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0.0s"}, {340 * time.Millisecond, "0.3s"}, {99 * time.Second, "99.0s"}, {99990 * time.Millisecond, "1m40s"}, {725 * time.Second, "12m05s"},
	} {
		if got := Duration(c.d); got != c.want {
			t.Errorf("%v is written %s, want %s", c.d, got, c.want)
		}
	}
}

func TestSlowIsToldApartFromUsual(t *testing.T) {
	b := &Board{}
	b.Apply(Event{At: at(0), Step: "tekton", State: Planned, ExpectedSeconds: 10, LimitSeconds: 120})
	s := b.Apply(Event{At: at(0), Step: "tekton", State: Running})
	if s.Slow(at(25)) || !s.Slow(at(26)) {
		t.Errorf("slow after 25s: %v, after 26s: %v", s.Slow(at(25)), s.Slow(at(26)))
	}
	if got, want := about(s, at(26)), " of about 10.0s, slow; stuck after 2m00s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
