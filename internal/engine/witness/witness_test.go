package witness

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/engine/pod"
	"kubernaut.ai/kubernaut/internal/execution"
)

var ref = engine.Ref{Name: "run", Execution: "u-1"}

// scene is a run, its pods, and what an API server says of them.
type scene struct {
	engine.Engine // of which nothing is asked
	run           execution.Run
	pods          []corev1.Pod
	logs          map[string]io.Reader // by container
}

func (s *scene) ObserveWithPods(context.Context, engine.Ref, engine.Freshness) (execution.Run, []corev1.Pod, error) {
	return s.run, s.pods, nil
}

func (s *scene) IsStep(container string) bool { return strings.HasPrefix(container, "step-") }

func (s *scene) Suspect(execution.Run, []corev1.Pod) (*corev1.Pod, string) {
	if len(s.pods) == 0 {
		return nil, ""
	}
	return &s.pods[0], "step-act"
}

// RoundTrip answers for the API server: the logs of the containers, and one warning.
func (s *scene) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r}
	if strings.HasSuffix(r.URL.Path, "/events") {
		answer.Body = io.NopCloser(strings.NewReader(`{"kind":"EventList","apiVersion":"v1","items":[{"reason":"BackOff","message":"again"}]}`))
		return answer, nil
	}
	log, ok := s.logs[r.URL.Query().Get("container")]
	if !ok {
		log, answer.StatusCode = strings.NewReader(`{"kind":"Status","apiVersion":"v1","status":"Failure","code":404}`), http.StatusNotFound
	}
	answer.Body = io.NopCloser(log)
	return answer, nil
}

func (s *scene) witness(t *testing.T) *Witness {
	t.Helper()
	core, err := kubernetes.NewForConfig(&rest.Config{Transport: s})
	if err != nil {
		t.Fatal(err)
	}
	return New(s, core.CoreV1(), &pod.Latch{})
}

// begun is a pod in which a step and something else run, and a step has not begun.
func begun(uid types.UID) corev1.Pod {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod-" + string(uid), UID: uid}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
		{Name: "step-act", ImageID: "sha256:1", State: running},
		{Name: "sidecar", ImageID: "sha256:1", State: running},
		{Name: "step-later"},
	}}}
}

// following lets logs be followed; what is returned ends that and waits for it.
func following(t *testing.T, w *Witness) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Follow(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func observe(t *testing.T, w *Witness) {
	t.Helper()
	if _, err := w.Observe(t.Context(), ref, engine.Cached); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// What a step printed while it ran is told when its pod, and its log, are gone.
func TestLastWordsOutliveThePod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, step := io.Pipe()
		s := &scene{run: execution.Run{State: execution.RunActive, Ours: true}, pods: []corev1.Pod{begun("1")}, logs: map[string]io.Reader{"step-act": log}}
		w := s.witness(t)
		defer following(t, w)()
		observe(t, w)
		for _, line := range []string{"draining\n", "the disk is full\n"} {
			if _, err := io.WriteString(step, line); err != nil {
				t.Fatal(err)
			}
		}
		observe(t, w) // once more: it is followed once
		_ = step.Close()
		synctest.Wait()

		s.run, s.pods, s.logs = execution.Run{State: execution.RunAbsent}, nil, nil
		if got := w.Evidence(t.Context(), ref); !slices.Equal(got, []string{"draining", "the disk is full"}) {
			t.Errorf("of a run whose pod is gone: %q", got)
		}
		if got := w.Evidence(t.Context(), engine.Ref{Name: "other", Execution: "u-2"}); len(got) != 0 {
			t.Errorf("of another run: %q", got)
		}
	})
}

// While nothing was followed, as after a restart, the pod is asked, with its warnings.
func TestLastWordsOfAPodThatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scene{run: execution.Run{State: execution.RunFinished, Ours: true}, pods: []corev1.Pod{begun("1")},
			logs: map[string]io.Reader{"step-act": strings.NewReader("no such file\n")}}
		w := s.witness(t)
		observe(t, w)
		if got := w.Evidence(t.Context(), ref); !slices.Equal(got, []string{"no such file", "event BackOff: again"}) {
			t.Errorf("evidence %q", got)
		}
	})
}

// Of a long log its end is kept, and of a run that succeeded nothing.
func TestWhatIsKeptIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := strings.Repeat("filler\n", 2*keptBytes/7) + strings.Repeat("x", 3*keptBytes) + "\nthe end\n"
		s := &scene{run: execution.Run{State: execution.RunActive, Ours: true}, pods: []corev1.Pod{begun("1")}, logs: map[string]io.Reader{"step-act": strings.NewReader(lines)}}
		w := s.witness(t)
		defer following(t, w)()
		observe(t, w)
		s.pods = nil
		got := w.Evidence(t.Context(), ref)
		if size := len(strings.Join(got, "\n")); size > keptBytes || len(got) == 0 || got[len(got)-1] != "the end" {
			t.Errorf("%d bytes in %d lines are kept, want at most %d, the end among them", size, len(got), keptBytes)
		}
		s.run.State, s.run.Succeeded = execution.RunFinished, true
		observe(t, w)
		if got := w.Evidence(t.Context(), ref); len(got) != 0 {
			t.Errorf("of a run that succeeded: %q", got)
		}
	})
}
