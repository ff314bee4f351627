package demo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/environment"
	"kubernaut.ai/kubernaut/internal/terminal"
	"kubernaut.ai/kubernaut/internal/trail"
)

// most is more events than a demonstration makes.
const most = 1000

// showTrail reads from Data Storage what the demonstration has done, and checks
// that nothing is missing and nothing is there twice.
func showTrail(ctx context.Context, s *stage) error {
	events, err := trail.Read(ctx, s.cluster, datastorage.QueryAuditEventsParams{CorrelationID: s.caseID, Limit: most}, most)
	if err != nil {
		return err
	}
	if err := trail.Table(events, false, s.IO.OutPaint).Write(s.IO.Out); err != nil {
		return err
	}
	if err := complete(events, s.played); err != nil {
		return err
	}
	s.shown("%d events of %d executions, each acknowledged by PostgreSQL exactly once", len(events), len(s.played))
	return nil
}

// complete checks the trail of the executions: each was created, each has ended
// as it did, one that ran was locked and started, and no event is there twice.
func complete(events []datastorage.StoredEvent, played []*v1alpha1.WorkflowExecution) error {
	seen := map[string]bool{}
	ids := map[uuid.UUID]bool{}
	for _, e := range events {
		if ids[e.EventID] {
			return fmt.Errorf("event %s is in the trail twice", e.EventID)
		}
		ids[e.EventID] = true
		seen[e.ResourceID+" "+e.EventType] = true
	}
	for _, ex := range played {
		for _, kind := range expectedTrail(ex) {
			if !seen[string(ex.UID)+" "+kind] {
				return fmt.Errorf("the trail of execution %s has no event %s", ex.Name, kind)
			}
		}
	}
	return nil
}

func expectedTrail(ex *v1alpha1.WorkflowExecution) []string {
	kinds := []string{"created"}
	if ex.Status.PipelineRunRef != nil {
		kinds = append(kinds, "locked", "started")
	}
	kinds = append(kinds, strings.ToLower(string(ex.Status.Phase)))
	for i := range kinds {
		kinds[i] = "workflowexecution." + kinds[i]
	}
	return kinds
}

// summarise shows how the environment came up, where things are, and what to
// try next.
func summarise(_ context.Context, s *stage) error {
	s.say("%s", s.report.Text(s.Width))
	s.say("%s", s.IO.OutPaint.Bold("Where things are"))
	where := terminal.Table{Blank: true}
	where.Add(terminal.Plain("cluster", s.cluster.Config.Host)...)
	where.Add(terminal.Plain("kubeconfig", Named("kubernaut env kubeconfig", s.Environment.Name)+" > FILE (your own is untouched)")...)
	where.Add(terminal.Plain("programs, images", s.cache.Dir)...)
	where.Add(terminal.Plain("logs", Named("kubernaut env status", s.Environment.Name))...)
	if err := where.Write(s.IO.Out); err != nil {
		return err
	}
	s.say("\n%s", s.IO.OutPaint.Bold("What to try next"))
	next := terminal.Table{Blank: true}
	tries := [][2]string{
		{"kubernaut get -n payment", "the executions"},
		{"kubernaut targets", "who holds what, what cools down, what is blocked"},
		{"kubernaut explain " + s.played[len(s.played)-1].Name + " -n payment", "why the last one failed, and what to do"},
		{"kubernaut unblock " + target + " --workflow always-fails --reason 'tried it out'", "let it run again"},
		{"kubernaut audit list --correlation-id " + s.caseID + " -o yaml", "the audit trail in full"},
		{"kubernaut workflow push ./my-workflow", "a remedy of your own"},
		{"kubernaut env down", "remove the environment; the cache stays"},
	}
	if path := outOfPath(); path != "" {
		tries = append([][2]string{{"export PATH=" + path + ":$PATH", "so that kubernaut is found"}}, tries...)
	}
	if s.Environment.Name != environment.DefaultName {
		tries = append([][2]string{{"export KUBECONFIG=FILE", "so that the commands below mean this environment; see above"}}, tries...)
	}
	for _, try := range tries {
		next.Add(terminal.Cell{Text: "  " + Named(try[0], s.Environment.Name), Style: s.IO.OutPaint.Accent}, terminal.Cell{Text: try[1], Style: s.IO.OutPaint.Faint})
	}
	return next.Write(s.IO.Out)
}

// outOfPath is the folder of this program when the shell does not find it.
func outOfPath() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	if _, err := exec.LookPath(filepath.Base(self)); err == nil {
		return ""
	}
	return filepath.Dir(self)
}
