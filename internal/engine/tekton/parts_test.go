package tekton

import (
	"testing"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/internal/execution"
)

// A pod is made again before its TaskRun had said that code of the first one ran, and
// for a moment there is none.
func TestAPodMadeAgainIsNoticedByThePodAlone(t *testing.T) {
	world := func(uid types.UID, started bool) World {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "run-act-pod", UID: uid, Labels: map[string]string{labelTaskRun: "run-act"}}}
		if started {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "step-main", ImageID: "sha256:1"}}
		}
		return World{
			Run:      &pipelinev1.PipelineRun{ObjectMeta: metav1.ObjectMeta{Name: "run", UID: "r"}},
			TaskRuns: []pipelinev1.TaskRun{{ObjectMeta: metav1.ObjectMeta{Name: "run-act", UID: "t"}}},
			Pods:     []corev1.Pod{p},
		}
	}
	for why, c := range map[string]struct {
		started bool
		want    string
	}{
		"its code had started": {true, "the pod of TaskRun run-act"},
		"it had not":           {false, ""},
	} {
		p, run := newParts(), execution.Run{State: execution.RunActive, Ours: true}
		p.follow(&run, world("first", c.started))
		if run.LostChild != "" {
			t.Errorf("%s: %q is lost before anything has happened", why, run.LostChild)
		}
		between := world("", false)
		between.Pods = nil
		p.follow(&run, between)
		p.follow(&run, world("second", false))
		if run.LostChild != c.want || run.CodeStarted != c.started {
			t.Errorf("%s: lost %q, code started %t; want %q", why, run.LostChild, run.CodeStarted, c.want)
		}
	}
}
