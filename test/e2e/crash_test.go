package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/environment"
)

// controllers are the pods of the controller.
func (w *world) controllers() []corev1.Pod {
	w.Helper()
	var pods corev1.PodList
	err := w.Client.List(w.ctx, &pods, client.InNamespace(v1alpha1.SystemNamespace), client.MatchingLabels{"app.kubernetes.io/component": "controller"})
	if err != nil {
		w.Fatalf("listing the controller's pods: %v", err)
	}
	return pods.Items
}

// killController ends every process of the controller with SIGKILL, and says how
// many there were.
func (w *world) killController() (killed int) {
	w.Helper()
	for _, pod := range w.controllers() {
		for _, pid := range processesOf(pod.Name) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err == nil {
				killed++
			}
		}
	}
	return killed
}

// processesOf are the processes on this machine that run in a pod: they know its
// name by their environment.
func processesOf(pod string) []int {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var all []int
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil || !slices.ContainsFunc(bytes.Split(raw, []byte{0}), func(v []byte) bool { return string(v) == "POD_NAME="+pod }) {
			continue // it has ended, or is another's
		}
		var pid int
		if _, err := fmt.Sscanf(file, "/proc/%d/environ", &pid); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// backUp waits until a controller is ready again. One that Kubernetes would start
// only after a while, because it has ended so often, is replaced.
func (w *world) backUp() {
	w.Helper()
	w.eventually("a controller is ready again", func() error {
		for _, pod := range w.controllers() {
			for _, c := range pod.Status.ContainerStatuses {
				if c.Ready && len(processesOf(pod.Name)) > 0 {
					return nil
				}
				if c.State.Waiting != nil && c.State.Waiting.Reason == "CrashLoopBackOff" {
					if err := client.IgnoreNotFound(w.Client.Delete(w.ctx, &pod, client.GracePeriodSeconds(0))); err != nil {
						return err
					}
				}
			}
		}
		return errNotReady
	})
}

var errNotReady = errors.New("no pod of the controller is ready")

// TestAKilledControllerLosesAndDoublesNothing kills the controller at random moments
// while executions of two workflows compete for their targets. What the API server
// has written down and what stands in the audit trail has to be exactly what
// happened.
func TestAKilledControllerLosesAndDoublesNothing(t *testing.T) {
	w := spec(t)
	const executions, kills = 15, 3
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	var all []*v1alpha1.WorkflowExecution
	for i := range executions {
		app := fmt.Sprintf("app-%d", i/2)
		if i%2 == 0 {
			w.deployment(app)
		}
		remedy, edit := "nothing", func(*v1alpha1.WorkflowExecution) {}
		if i%2 == 1 {
			remedy, edit = "increase-memory", limit("64Mi")
		}
		all = append(all, w.execute(remedy, w.target(app), edit, func(e *v1alpha1.WorkflowExecution) { e.Spec.OnBusy = v1alpha1.OnBusyWait }))
	}
	killed := 0
	for range kills {
		<-time.After(time.Duration(random.IntN(4000)) * time.Millisecond) // the moment is what is varied
		killed += w.killController()
		w.backUp()
	}
	if killed < kills {
		t.Errorf("the controller was killed %d times, want %d", killed, kills)
	}
	for i, e := range all {
		all[i] = w.untilRecorded(e)
	}

	log := w.changes()
	for _, e := range all {
		if e.Status.Phase != v1alpha1.PhaseCompleted {
			t.Errorf("%s is %s, want Completed: %+v %+v", e.Name, e.Status.Phase, e.Status.FailureDetails, e.Status.SkipDetails)
			continue
		}
		if got := types(w.trail(e)); got != "created locked started completed" {
			t.Errorf("the trail of %s is %q", e.Name, got)
		}
		if n := log.created[e.Status.PipelineRunRef.Name]; n != 1 {
			t.Errorf("the API server has created run %s %d times, want once", e.Status.PipelineRunRef.Name, n)
		}
	}
	w.neverTwoAtATime(all)
	t.Logf("%d runs, %d creations of runs in the API server's log, %d kills", len(all), log.ofRuns(all), killed)
}

// neverTwoAtATime looks at when the runs on each target began and ended.
func (w *world) neverTwoAtATime(all []*v1alpha1.WorkflowExecution) {
	w.Helper()
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.Status.Target.Key != b.Status.Target.Key {
				continue
			}
			ra, rb := w.run(a), w.run(b)
			if ra.Status.CompletionTime == nil || rb.Status.CompletionTime == nil {
				w.Errorf("a run of %s has no end", a.Status.Target.Key)
				continue
			}
			if ra.CreationTimestamp.Before(rb.Status.CompletionTime) && rb.CreationTimestamp.Before(ra.Status.CompletionTime) {
				w.Errorf("%s and %s ran on %s at the same time", ra.Name, rb.Name, a.Status.Target.Key)
			}
		}
	}
}

// changelog is what the API server has written down of runs.
type changelog struct {
	created map[string]int // by the name of the run: how often a creation was answered with 201
}

func (c changelog) ofRuns(all []*v1alpha1.WorkflowExecution) int {
	n := 0
	for _, e := range all {
		if e.Status.PipelineRunRef != nil {
			n += c.created[e.Status.PipelineRunRef.Name]
		}
	}
	return n
}

// changes reads the audit log of the API server.
func (w *world) changes() changelog {
	w.Helper()
	path, err := environment.AuditLog(environmentName)
	if err != nil {
		w.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = file.Close() }() // it was only read
	log := changelog{created: map[string]int{}}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !strings.Contains(lines.Text(), `"pipelineruns"`) {
			continue
		}
		var e struct {
			Verb           string
			ObjectRef      struct{ Resource, Name, Subresource string }
			ResponseStatus struct{ Code int }
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			w.Fatalf("the API server's audit log: %v", err)
		}
		if e.Verb == "create" && e.ObjectRef.Resource == "pipelineruns" && e.ObjectRef.Subresource == "" && e.ResponseStatus.Code == 201 {
			log.created[e.ObjectRef.Name]++
		}
	}
	if err := lines.Err(); err != nil {
		w.Fatal(err)
	}
	return log
}
