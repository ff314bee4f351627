package execution_test

import (
	"testing"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/execution"
)

// TestWhoseWaitItWas: a run that was stopped because of what it waited for names the
// task that waited, where that is known.
func TestWhoseWaitItWas(t *testing.T) {
	pull := execution.Task{Name: "pull", Index: 1, Failed: true, Reason: "TaskRunCancelled"}
	other := execution.Task{Name: "other", Index: 2, Failed: true, Reason: "TaskRunCancelled"}
	done := execution.Task{Name: "done", Index: 0}
	image := &v1alpha1.Waiting{Reason: string(v1alpha1.FailureImagePullBackOff), Message: "no such image"}
	for _, c := range []struct {
		why    string
		reason v1alpha1.FailureReason
		waited *v1alpha1.Waiting
		tasks  []execution.Task
		want   string
	}{
		{"one was stopped", v1alpha1.FailureImagePullBackOff, image, []execution.Task{done, pull}, "pull"},
		{"two were", v1alpha1.FailureImagePullBackOff, image, []execution.Task{pull, other}, ""},
		{"somebody cancelled it", v1alpha1.FailureCancelled, nil, []execution.Task{pull}, ""},
	} {
		run := execution.Run{State: execution.RunFinished, Cancelled: true, StopReason: c.reason, Tasks: c.tasks}
		f := execution.Classify(run, c.waited)
		if f.Reason != c.reason || f.Task != c.want || (f.TaskIndex == -1) != (c.want == "") {
			t.Errorf("%s: %s of task %q (%d), want %q", c.why, f.Reason, f.Task, f.TaskIndex, c.want)
		}
	}
}
