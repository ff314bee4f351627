package tekton

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/execution"
)

var update = flag.Bool("update", false, "write the golden files anew")

// recorded reads what a real Tekton reported: testdata/statuses holds one file for
// each story, with a time line as comments and the final objects.
func recorded(t *testing.T, path string) World {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var w World
	for _, doc := range strings.Split(string(raw), "\n---\n") {
		title, _, _ := strings.Cut(strings.TrimSpace(doc), "\n")
		switch strings.TrimSpace(strings.TrimPrefix(title, "#")) {
		case "pipelinerun":
			w.Run = &pipelinev1.PipelineRun{}
			read(t, doc, w.Run)
			w.Run.Labels[v1alpha1.LabelExecutionUID] = "me"
		case "taskrun":
			var list pipelinev1.TaskRunList
			read(t, doc, &list)
			w.TaskRuns = list.Items
		case "pod":
			var list corev1.PodList
			read(t, doc, &list)
			w.Pods = list.Items
		}
	}
	if w.Run == nil {
		t.Fatalf("%s holds no PipelineRun", path)
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
	if err != nil || len(files) < 40 {
		t.Fatalf("found %d recorded statuses, want at least 40: %v", len(files), err)
	}
	var b strings.Builder
	for _, file := range files {
		w := recorded(t, file)
		run := Translate(w, engine.Ref{Name: w.Run.Name, Execution: "me"})
		fmt.Fprintf(&b, "%s\n%s\n", strings.TrimSuffix(filepath.Base(file), ".yaml"), understood(run))
	}
	const golden = "testdata/understood.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
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
		line("failed: %s", f.Reason)
		if f.Task != "" {
			line("in: task %d %s, step %q%s", f.TaskIndex, f.Task, f.Step, exit(f))
		}
		line("says: %s", printable(f.Message))
	default:
		line("%s: %s", run.State, printable(run.Message))
	}
	if run.Hold != nil {
		line("waits: %s: %s", run.Hold.Reason, printable(run.Hold.Message))
	}
	if run.LostChild != "" {
		line("lost: %s (%s)", run.LostChild, run.LostReason)
	}
	if len(run.Alive) > 0 {
		line("alive: %s", strings.Join(run.Alive, ", "))
	}
	if run.TotalTasks > 0 {
		line("tasks: %d of %d", run.CompletedTasks, run.TotalTasks)
	}
	line("code started: %t", run.CodeStarted)
	return b.String()
}

func exit(f execution.Failure) string {
	if f.ExitCode == nil {
		return ""
	}
	return fmt.Sprintf(", exit code %d", *f.ExitCode)
}

func printable(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) }), " ")
}
