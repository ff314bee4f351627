package job

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/execution"
)

var update = flag.Bool("update", false, "write the golden files anew")

// recorded reads what a real Kubernetes reported: testdata/statuses holds one file
// for each story, with the Job and its pod as they were.
func recorded(t *testing.T, path string) World {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w := World{Fresh: true}
	for doc := range strings.SplitSeq(string(raw), "\n---\n") {
		title, _, _ := strings.Cut(doc, "\n")
		switch title {
		case "# job":
			w.Job = &batchv1.Job{}
			read(t, doc, w.Job)
		case "# pod":
			var p corev1.Pod
			read(t, doc, &p)
			w.Pods = append(w.Pods, p)
		}
	}
	if w.Job == nil {
		t.Fatalf("%s holds no Job", path)
	}
	return w
}

func read(t *testing.T, doc string, into any) {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

// TestRecordedStatuses compares what is understood of each recorded run with
// testdata/understood.txt.
func TestRecordedStatuses(t *testing.T) {
	files, err := filepath.Glob("testdata/statuses/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d recorded statuses, want at least 10: %v", len(files), err)
	}
	var all strings.Builder
	for _, file := range files {
		w := recorded(t, file)
		ref := engine.Ref{Name: w.Job.Name, Execution: types.UID(w.Job.Labels[v1alpha1.LabelExecutionUID])}
		fmt.Fprintf(&all, "%s\n%s\n", strings.TrimSuffix(filepath.Base(file), ".yaml"), understood(Translate(w, ref)))
	}
	const golden = "testdata/understood.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), all.String()); diff != "" {
		t.Errorf("what is understood has changed; if that is meant, run this test with -update (-want +got):\n%s", diff)
	}
}

func understood(run execution.Run) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "  "+format+"\n", args...) }
	switch {
	case run.Succeeded:
		line("succeeded")
	case run.State == execution.RunFinished:
		f := execution.Classify(run, nil)
		line("failed: %s: %s", f.Reason, f.Message)
		if f.ExitCode != nil {
			line("in: task %s, step %s, exit code %d", f.Task, f.Step, *f.ExitCode)
		}
	default:
		line("%s, asked to stop: %q %s", run.State, run.Stopping, run.StopReason)
	}
	if h := run.Hold; h != nil {
		line("waits: %s, hopeless %t: %s", h.Reason, h.Hopeless, h.Message)
	}
	if run.LostChild != "" {
		line("lost: %s (%s)", run.LostChild, run.LostReason)
	}
	if len(run.Alive) > 0 {
		line("alive: %s", strings.Join(run.Alive, ", "))
	}
	line("code started: %t", run.CodeStarted)
	return b.String()
}
