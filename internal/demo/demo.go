// Package demo shows the whole of Kubernaut on a real cluster, in acts: an
// environment comes up, a Deployment breaks, a remedy heals it, the same remedy
// is refused right after, another one fails, and the audit trail tells it all.
//
// Each act looks at what really happened and fails when it is something else
// than what it shows.
package demo

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/environment"
	"kubernaut.ai/kubernaut/internal/environment/progress"
	"kubernaut.ai/kubernaut/internal/environment/report"
	"kubernaut.ai/kubernaut/internal/terminal"
)

// Options are what a demonstration needs from its caller.
type Options struct {
	IO          terminal.Streams
	Environment environment.Options
	Display     func() progress.Display // shows how the environment comes up
	Now         func() time.Time
	Width       int // columns of the report
}

// act is one part of the demonstration.
type act struct {
	title string
	play  func(context.Context, *stage) error
	next  string // what to do when it fails
	shows bool   // it shows its progress itself
}

var acts = []act{
	{"The machine", checkMachine, "install or free what is named, then run it again: kubernaut demo", false},
	{"The environment", bringUp, "look at what failed: kubernaut env status; then run it again: kubernaut demo", true},
	{"Something breaks", breakPayment, "look at the Deployment: kubectl -n payment describe deployment,pods", false},
	{"The remedy is registered", register, "look at Data Storage and the registry: kubectl -n kubernaut-system get pods", false},
	{"The remedy heals it", heal, "look at the execution: kubernaut get -n payment; kubernaut explain NAME -n payment", false},
	{"Once more: it is left alone", healAgain, "look at the target: kubernaut targets", false},
	{"Another one fails", fail, "look at the execution: kubernaut explain NAME -n payment", false},
	{"The audit trail", showTrail, "look at the trail: kubernaut audit list", false},
	{"What was built", summarise, "", false},
}

// stage is what the acts share.
type stage struct {
	Options
	cache   build.Cache
	cluster *connect.Cluster
	heart   *heart
	began   time.Time
	report  report.Report // of how the environment came up
	caseID  string        // correlation id of everything the demonstration does
	played  []*v1alpha1.WorkflowExecution
}

// Run plays all acts. It ends at the first that fails, with the cause and what
// to do next; what is there by then stays.
func Run(ctx context.Context, o Options) error {
	cache, err := build.Open()
	if err != nil {
		return err
	}
	s := &stage{Options: o, cache: cache, began: o.Now(), heart: &heart{out: o.IO.Out}, caseID: "demo-" + o.Now().UTC().Format("20060102-150405")}
	s.IO.Out = s.heart
	for i, a := range acts {
		s.heading(i+1, a.title)
		if err := s.perform(ctx, a); err != nil {
			return s.failed(ctx, a, err)
		}
	}
	return nil
}

// perform plays one act, and speaks where it would be silent.
func (s *stage) perform(ctx context.Context, a act) error {
	if !a.shows {
		defer s.heart.doing(strings.ToLower(a.title))()
		defer s.heart.beat(s.IO.OutPaint.Faint)()
	}
	return a.play(ctx, s)
}

func (s *stage) failed(ctx context.Context, a act, err error) error {
	if ctx.Err() != nil {
		return err // an interruption has no other cause
	}
	err = fmt.Errorf("%s: %w", strings.ToLower(a.title), err)
	if a.next == "" {
		return err
	}
	return errors.Join(err, errors.New("next: "+Named(a.next, s.Environment.Name)))
}

var environmentCommand = regexp.MustCompile(`kubernaut (demo|env [a-z]+)`)

// Named names the environment in the commands of a text, unless it is the default
// one.
func Named(text, name string) string {
	if name == environment.DefaultName {
		return text
	}
	return environmentCommand.ReplaceAllString(text, "$0 --name "+name)
}

func (s *stage) heading(number int, title string) {
	line := fmt.Sprintf("── %d/%d  %s ", number, len(acts), title)
	rest := max(4, min(s.Width, 100)-len([]rune(line)))
	_, _ = fmt.Fprintf(s.IO.Out, "\n%s\n", s.IO.OutPaint.Bold(line+strings.Repeat("─", rest)))
}

// say writes a line of the story.
func (s *stage) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.IO.Out, format+"\n", args...)
}

// shown says that something is as it should be.
func (s *stage) shown(format string, args ...any) {
	s.say("%s "+format, append([]any{s.IO.OutPaint.Good("✓")}, args...)...)
}
