package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/environment"
)

// write is a change that the controller has asked the API server for.
type write struct {
	name string
	at   time.Time // when it was received
	done bool      // false: the answer was lost, and it may have been done
}

// changelog is what the API server has written down of the controller's changes.
type changelog struct {
	created []write // runs
	records []write // the statuses of the records of targets: taken, and given back
}

// start is when the run of an execution was created first.
func (c changelog) start(e *v1alpha1.WorkflowExecution) time.Time {
	for _, w := range c.created {
		if w.name == e.Status.PipelineRunRef.Name {
			return w.at
		}
	}
	return time.Time{}
}

// turn is one execution that was started on a target after another.
type turn struct {
	before, next *v1alpha1.WorkflowExecution
	writes       int // of the target's record between the two starts
}

// turns are those of all targets. All times are those at which the API server has
// received a request: what follows from an answer is later.
func (c changelog) turns(all []*v1alpha1.WorkflowExecution) (turns []turn) {
	on := map[string][]*v1alpha1.WorkflowExecution{} // by the record of the target
	for _, e := range all {
		if e.Status.PipelineRunRef != nil {
			on[e.Status.Target.Record] = append(on[e.Status.Target.Record], e)
		}
	}
	for record, runs := range on {
		slices.SortFunc(runs, func(a, b *v1alpha1.WorkflowExecution) int { return c.start(a).Compare(c.start(b)) })
		for i, next := range runs[1:] {
			turns = append(turns, turn{runs[i], next, c.writesOf(record, c.start(runs[i]), c.start(next))})
		}
	}
	return turns
}

// writesOf is how often a record was written between two moments.
func (c changelog) writesOf(record string, from, to time.Time) (n int) {
	for _, w := range c.records {
		if w.name == record && w.at.After(from) && w.at.Before(to) {
			n++
		}
	}
	return n
}

// changes reads in the audit log of the API server what the controller has done since
// a moment.
func (w *world) changes(since time.Time) changelog {
	w.Helper()
	file, err := os.Open(w.auditLog())
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = file.Close() }() // it was only read
	log, err := changesIn(file, since)
	if err != nil {
		w.Fatalf("the API server's audit log: %v", err)
	}
	return log
}

// auditLog is the file of it. Of a cluster that is not ours, whoever runs the specs
// has to say where it is.
func (w *world) auditLog() string {
	w.Helper()
	if path := os.Getenv("KUBERNAUT_E2E_AUDIT_LOG"); path != "" {
		return path
	}
	if kind := place().Cluster; kind == environment.Existing {
		w.Skipf("what the controller did is read in the API server's audit log: name that of the cluster (%s) in KUBERNAUT_E2E_AUDIT_LOG", kind)
	}
	path, err := environment.AuditLog(environmentName)
	if err != nil {
		w.Fatal(err)
	}
	return path
}

func changesIn(audit io.Reader, since time.Time) (log changelog, err error) {
	lines := bufio.NewScanner(audit)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return log, err
		}
		if e.User.Username != controllerAccount || e.RequestReceivedTimestamp.Time.Before(since) {
			continue
		}
		code := e.ResponseStatus.Code
		change := write{e.ObjectRef.Name, e.RequestReceivedTimestamp.Time, code < 300}
		switch {
		case code >= 300 && code < 500: // it was refused
		case e.is("create", "pipelineruns", ""):
			log.created = append(log.created, change)
		case e.is("update", "remediationtargets", "status"):
			log.records = append(log.records, change)
		}
	}
	return log, lines.Err()
}

const controllerAccount = "system:serviceaccount:" + v1alpha1.SystemNamespace + ":kubernaut-controller"

// entry is one line of the API server's audit log.
type entry struct {
	Verb                     string
	User                     struct{ Username string }
	ObjectRef                struct{ Resource, Name, Subresource string }
	ResponseStatus           struct{ Code int }
	RequestReceivedTimestamp metav1.MicroTime
}

func (e entry) is(verb, resource, subresource string) bool {
	return e.Verb == verb && e.ObjectRef.Resource == resource && e.ObjectRef.Subresource == subresource
}

// TestOverlapsAreSeenInTheAuditLog: the log that is read tells a target that was given
// back and taken from one that two runs have had.
func TestOverlapsAreSeenInTheAuditLog(t *testing.T) {
	line := func(second float64, user, verb, ref string, code int) string {
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(second * float64(time.Second)))
		return fmt.Sprintf(`{"stage":"ResponseComplete","verb":%q,"user":{"username":%q},"objectRef":%s,"responseStatus":{"metadata":{},"code":%d},"requestReceivedTimestamp":%q}`,
			verb, user, ref, code, at.Format(metav1.RFC3339Micro))
	}
	run := func(name string) string { return fmt.Sprintf(`{"resource":"pipelineruns","name":%q}`, name) }
	record := `{"resource":"remediationtargets","name":"r","subresource":"status"}`
	log, err := changesIn(strings.NewReader(strings.Join([]string{
		line(-1, controllerAccount, "create", run("earlier"), 201), // before the spec
		line(0.1, controllerAccount, "update", record, 200),
		line(0.2, controllerAccount, "create", run("a"), 201),
		line(0.3, "somebody", "create", run("other"), 201),
		line(0.4, controllerAccount, "update", record, 200),
		line(0.5, controllerAccount, "update", record, 409), // nothing has happened
		line(0.6, controllerAccount, "update", record, 200),
		line(0.7, controllerAccount, "create", run("b"), 504), // the answer was lost
		line(0.8, controllerAccount, "create", run("b"), 409),
		line(0.9, controllerAccount, "create", run("c"), 201),
	}, "\n")), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	if err != nil || len(log.created) != 3 || log.created[1].done || len(log.records) != 3 {
		t.Fatalf("read %+v, %v", log, err)
	}
	var all []*v1alpha1.WorkflowExecution
	for _, name := range []string{"c", "a", "b"} {
		e := &v1alpha1.WorkflowExecution{}
		e.Name, e.Status.PipelineRunRef, e.Status.Target = name, &v1alpha1.RunReference{Name: name}, &v1alpha1.ResolvedTarget{Record: "r"}
		all = append(all, e)
	}
	var got []string
	for _, turn := range log.turns(all) {
		got = append(got, fmt.Sprintf("%s after %s: %d", turn.next.Name, turn.before.Name, turn.writes))
	}
	if want := []string{"b after a: 2", "c after b: 0"}; !slices.Equal(got, want) {
		t.Errorf("turns %q, want %q", got, want)
	}
}
