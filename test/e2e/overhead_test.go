package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// BenchmarkExecutionBesideABareRun measures what an execution adds to its
// PipelineRun: created → Completed of a WorkflowExecution, and created →
// Succeeded of the same PipelineRun made by hand, in turn. The limit of the
// ratio is 1.15.
func BenchmarkExecutionBesideABareRun(b *testing.B) {
	const rounds = 7
	w := spec(b)
	for b.Loop() {
		var executions, runs []time.Duration
		for i := range rounds {
			took, run := w.timedExecution(fmt.Sprintf("target-%d", i))
			executions = append(executions, took)
			runs = append(runs, w.timedRun(run))
		}
		e, r := median(executions), median(runs)
		b.ReportMetric(e.Seconds(), "execution-s")
		b.ReportMetric(r.Seconds(), "bare-run-s")
		b.ReportMetric(e.Seconds()/r.Seconds(), "ratio(limit=1.15)")
	}
}

func (w *world) timedExecution(target string) (time.Duration, *tekton.PipelineRun) {
	w.Helper()
	w.deployment(target)
	start := time.Now()
	e := w.untilPhase(w.execute("nothing", w.target(target)), v1alpha1.PhaseCompleted)
	return time.Since(start), w.run(e)
}

// timedRun times the same run without an execution around it.
func (w *world) timedRun(like *tekton.PipelineRun) time.Duration {
	w.Helper()
	run := &tekton.PipelineRun{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "bare-", Namespace: like.Namespace},
		Spec:       *like.Spec.DeepCopy(),
	}
	start := time.Now()
	w.create(run)
	done := until(w, run, &tekton.PipelineRunList{}, func(r *tekton.PipelineRun) bool { return r.IsDone() })
	took := time.Since(start)
	if !done.Status.GetCondition(apis.ConditionSucceeded).IsTrue() {
		w.Fatalf("the bare run ended with %+v", done.Status.GetCondition(apis.ConditionSucceeded))
	}
	return took
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}
