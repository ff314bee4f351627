package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/target"
)

// row prints a measure beside its limit and reports it.
func row(b *testing.B, what string, got float64, unit, limit string) {
	b.Helper()
	b.ReportMetric(got, strings.ReplaceAll(what, " ", "-")+"-"+unit)
	fmt.Printf("  %-58s %9.1f %-8s limit %s\n", what, got, unit, limit)
}

// BenchmarkWrites counts, in the API server's audit log, what the controller writes
// for a successful execution on a known target.
func BenchmarkWrites(b *testing.B) {
	s := newStand(b)
	p := s.control()
	defer p.stop()
	for b.Loop() {
		s.countWrites()
	}
}

func (s *stand) countWrites() {
	s.b.Helper()
	const n = 50
	s.known(n)
	before := s.written()
	for i := range n { // one after the other: each is alone
		name := fmt.Sprint("write-", i)
		s.submit(name, fmt.Sprint("t-", i))
		s.await(name+" is settled", func() bool { return isSettled(s.seen[name]) })
	}
	after := s.written()
	all, conflicts := 0.0, 0
	for _, kind := range slices.Sorted(maps.Keys(after)) {
		each := float64(after[kind]-before[kind]) / n
		switch {
		case strings.HasPrefix(kind, "conflict"):
			conflicts += after[kind] - before[kind]
			fmt.Printf("    %-56s %9.2f\n", kind, each)
			continue
		case strings.Contains(kind, "leases"):
			continue
		case strings.Contains(kind, "events"):
			fmt.Printf("  (beside them: %.1f %s)\n", each, kind)
			continue
		}
		all += each
		fmt.Printf("    %-56s %9.2f\n", kind, each)
	}
	row(s.b, "writes per execution", all, "writes", "6")
	row(s.b, "conflicts per execution", float64(conflicts)/n, "writes", "about 0")
}

// written counts the controller's writes by kind.
func (s *stand) written() map[string]int {
	s.b.Helper()
	file, err := os.Open(s.auditLog)
	s.must(err)
	defer func() { _ = file.Close() }() // it was only read
	count := map[string]int{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			UserAgent, Verb string
			ObjectRef       struct{ Resource, Subresource string }
			ResponseStatus  struct{ Code int }
		}
		s.must(json.Unmarshal(lines.Bytes(), &e))
		if e.UserAgent != agent {
			continue
		}
		kind := strings.TrimSuffix(e.Verb+" "+e.ObjectRef.Resource+"/"+e.ObjectRef.Subresource, "/")
		if e.ResponseStatus.Code == 409 {
			kind = "conflict at " + kind
		}
		count[kind]++
	}
	s.must(lines.Err())
	return count
}

// BenchmarkLatency measures, at ten executions a second, how long it takes until
// the run exists and from its end to a terminal status.
func BenchmarkLatency(b *testing.B) {
	s := newStand(b)
	p := s.control()
	defer p.stop()
	for b.Loop() {
		s.measureLatency()
	}
}

func (s *stand) measureLatency() {
	s.b.Helper()
	s.known(50)
	started, ended := s.paced("pace", 200)
	row(s.b, "created to run exists at 10/s p50", percentile(started, 50), "ms", "30")
	row(s.b, "created to run exists at 10/s p99", percentile(started, 99), "ms", "200")
	row(s.b, "run finished to terminal status p50", percentile(ended, 50), "ms", "-")
	row(s.b, "run finished to terminal status p99", percentile(ended, 99), "ms", "300")
}

// paced submits n executions, ten a second, and returns both latencies.
func (s *stand) paced(prefix string, n int) (started, ended []time.Duration) {
	s.b.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := range n {
		<-tick.C
		go s.submit(fmt.Sprint(prefix, "-", i), fmt.Sprint("t-", i%50))
	}
	s.settled(prefix+"-", n)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.all(prefix+"-", isSettled) {
		started = append(started, max(at.run.Sub(at.created), 0))
		ended = append(ended, max(at.terminal.Sub(at.finished), 0))
	}
	return started, ended
}

// BenchmarkThroughput measures how many executions a second come to their end, 300
// at once and sustained, beside a client that makes the same writes and decides
// nothing.
func BenchmarkThroughput(b *testing.B) {
	s := newStand(b)
	p := s.control()
	defer p.stop()
	for b.Loop() {
		s.measureThroughput()
	}
}

func (s *stand) measureThroughput() {
	s.b.Helper()
	const burst, sustained = 300, 900
	s.known(burst)
	at := time.Now()
	s.parallel(32, burst, func(i int) { s.submit(fmt.Sprint("burst-", i), fmt.Sprint("t-", i)) })
	s.settled("burst-", burst)
	row(s.b, "300 at once", burst/time.Since(at).Seconds(), "/s", "60")

	at = time.Now()
	s.parallel(64, sustained, func(i int) {
		name := fmt.Sprint("long-", i)
		s.submit(name, fmt.Sprint("t-", i%burst))
		s.await(name+" is settled", func() bool { return isSettled(s.seen[name]) })
	})
	rate := sustained / time.Since(at).Seconds()
	row(s.b, "sustained with 64 under way", rate, "/s", "60")
	bare := s.bare(sustained)
	row(s.b, "the same writes by a bare client", bare, "/s", "-")
	row(s.b, "ratio", rate/bare, "", "0.5")
}

// bare makes the writes of n successful executions, those of the user and of
// Tekton included, with nobody deciding anything.
func (s *stand) bare(n int) (rate float64) {
	s.b.Helper()
	for i := range 64 {
		rt := &v1alpha1.RemediationTarget{
			ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: fmt.Sprint("bare-", i)},
			Spec:       v1alpha1.RemediationTargetSpec{Target: fmt.Sprintf("%s/deployment.apps/bare-%d", users, i)},
		}
		s.must(s.client.Create(s.ctx, rt))
	}
	places := make(chan int, 64)
	for i := range 64 {
		places <- i
	}
	at := time.Now()
	s.parallel(64, n, func(i int) {
		place := <-places
		if err := s.bareOne(fmt.Sprint("bare-", i), fmt.Sprint("bare-", place)); err != nil {
			s.b.Errorf("a bare client: %v", err)
		}
		places <- place
	})
	return float64(n) / time.Since(at).Seconds()
}

func (s *stand) bareOne(name, record string) error {
	ex := execution(name, record)
	ex.Labels = map[string]string{v1alpha1.LabelSettled: "Completed", "bench": "bare"} // the controller leaves it alone
	rt := &v1alpha1.RemediationTarget{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: record}}
	pr := &pipelinev1.PipelineRun{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.WorkflowNamespace, Name: name}}
	pr.Spec.PipelineRef = &pipelinev1.PipelineRef{Name: v1alpha1.PipelineName}
	for _, write := range []func() error{
		func() error { return s.client.Create(s.ctx, ex) },
		func() error { return s.client.Get(s.ctx, client.ObjectKeyFromObject(rt), rt) },
		func() error {
			rt.Status = target.Take(rt.Status, v1alpha1.Holder{UID: ex.UID, Namespace: users, Name: name, WorkflowID: "heal", Engine: "tekton", RunName: name, Since: metav1.NowMicro()})
			return s.client.Status().Update(s.ctx, rt)
		},
		func() error { return s.client.Create(s.ctx, pr) },
		func() error { return s.phase(ex, v1alpha1.PhaseRunning) },
		func() error { finish(pr); return s.client.Status().Update(s.ctx, pr) },
		func() error { return s.phase(ex, v1alpha1.PhaseCompleted) },
		func() error { rt.Status.Holder = nil; return s.client.Status().Update(s.ctx, rt) },
		func() error {
			before := ex.DeepCopy()
			ex.Finalizers = nil
			return s.client.Patch(s.ctx, ex, client.MergeFrom(before))
		},
	} {
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

func (s *stand) phase(ex *v1alpha1.WorkflowExecution, phase v1alpha1.Phase) error {
	before := ex.DeepCopy()
	now := metav1.Now()
	ex.Status.Phase, ex.Status.StartTime = phase, &now
	return s.client.Status().Patch(s.ctx, ex, client.MergeFrom(before))
}

// finished is how many ended executions lie in the cluster: 50,000 in full, or as
// many as KUBERNAUT_BENCH_FINISHED says.
func finished() int {
	if n, err := strconv.Atoi(os.Getenv("KUBERNAUT_BENCH_FINISHED")); err == nil {
		return n
	}
	if full() {
		return 50_000
	}
	return 2_000
}

// BenchmarkFinished measures a controller in whose cluster many executions have
// ended: its memory, how soon after a restart it decides, and what one more costs.
func BenchmarkFinished(b *testing.B) {
	s := newStand(b)
	for b.Loop() {
		s.measureFinished()
	}
}

func (s *stand) measureFinished() {
	s.b.Helper()
	p := s.control()
	s.known(50)
	fewStarted, _ := s.paced("few", 100)
	p.stop()

	n := finished()
	s.parallel(32, n, func(i int) {
		if err := s.old(i); err != nil {
			s.b.Errorf("making finished executions: %v", err)
		}
	})
	s.submit("waits-0", "t-0")
	at := time.Now()
	p = s.control()
	s.settled("waits-", 1)
	row(s.b, "restart to first decision", s.seen["waits-0"].run.Sub(at).Seconds(), "s", "10")
	manyStarted, _ := s.paced("many", 100)
	row(s.b, fmt.Sprintf("memory beside %d finished", n), p.resident(), "MiB", "300")
	row(s.b, "created to run exists p50 before", percentile(fewStarted, 50), "ms", "-")
	row(s.b, "created to run exists p50 beside them", percentile(manyStarted, 50), "ms", "as before")
	p.stop()
}

// old makes an execution that has ended long ago.
func (s *stand) old(i int) error {
	ex := execution(fmt.Sprint("old-", i), fmt.Sprint("old-", i))
	ex.Finalizers = nil
	ex.UID = types.UID("")
	ex.Labels = map[string]string{v1alpha1.LabelSettled: "Completed", "bench": "old"}
	if err := s.client.Create(s.ctx, ex); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return s.phase(ex, v1alpha1.PhaseCompleted)
}
