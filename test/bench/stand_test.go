package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/controller"
	"kubernaut.ai/kubernaut/test/servers"
)

// patience bounds every wait.
const patience = 2 * time.Minute

// stand is an API server with a scripted Tekton, and what is seen of both.
type stand struct {
	b          *testing.B
	ctx        context.Context
	kubeconfig string
	cfg        *rest.Config
	client     client.WithWatch
	auditLog   string

	mu      sync.Mutex
	changed chan struct{} // closed and made anew when something is seen
	seen    map[string]*sighting
}

// sighting is when something was seen of one execution, by its name.
type sighting struct{ asked, created, run, finished, terminal, settled time.Time }

// writes is what the API server writes down: every change, by whom.
const writes = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    verbs: [create, update, patch, delete]
  - level: None
`

func newStand(b *testing.B) *stand {
	b.Helper()
	if testing.Short() {
		b.Skip("needs kube-apiserver: run make bench")
	}
	dir := b.TempDir()
	s := &stand{b: b, auditLog: filepath.Join(dir, "audit.log"), changed: make(chan struct{}), seen: map[string]*sighting{}}
	policy := filepath.Join(dir, "policy.yaml")
	s.must(os.WriteFile(policy, []byte(writes), 0o600))
	kube, err := servers.StartDurableAPIServer("audit-policy-file="+policy, "audit-log-path="+s.auditLog)
	s.must(err)
	b.Cleanup(func() { s.must(kube.Stop()) })
	s.cfg, s.kubeconfig = kube.Config, servers.Kubeconfig(b, kube.Config)
	s.client, err = client.NewWithWatch(kube.Config, client.Options{Scheme: controller.Scheme()})
	s.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx = ctx
	for _, name := range []string{v1alpha1.SystemNamespace, v1alpha1.WorkflowNamespace, users} {
		s.must(s.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	var watching sync.WaitGroup
	watching.Go(s.tekton)
	watching.Go(s.watch)
	b.Cleanup(func() { cancel(); watching.Wait() })
	return s
}

const users = "team"

func (s *stand) must(err error) {
	s.b.Helper()
	if err != nil {
		s.b.Fatal(err)
	}
}

// see notes something of an execution.
func (s *stand) see(name string, note func(*sighting)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[name] == nil {
		s.seen[name] = &sighting{}
	}
	note(s.seen[name])
	close(s.changed)
	s.changed = make(chan struct{})
}

// await waits until ok is true of what was seen.
func (s *stand) await(what string, ok func() bool) {
	s.b.Helper()
	late := time.After(patience)
	for {
		s.mu.Lock()
		done, changed := ok(), s.changed
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-late:
			s.b.Fatalf("%s: not within %s", what, patience)
		}
	}
}

func once(at *time.Time) {
	if at.IsZero() {
		*at = time.Now()
	}
}

// follow shows every object of a namespace as it changes. The API server ends a watch
// that falls behind; the next one begins with all there is.
func (s *stand) follow(kind client.ObjectList, namespace string, show func(watch.Event)) {
	for s.ctx.Err() == nil {
		events, err := s.client.Watch(s.ctx, kind, client.InNamespace(namespace))
		if err != nil {
			if s.ctx.Err() == nil {
				s.b.Errorf("watching: %v", err)
			}
			return
		}
		for e := range events.ResultChan() {
			show(e)
		}
		events.Stop()
	}
}

// watch notes when executions end and when nothing is owed for them any more.
func (s *stand) watch() {
	s.follow(&v1alpha1.WorkflowExecutionList{}, users, func(e watch.Event) {
		ex, ok := e.Object.(*v1alpha1.WorkflowExecution)
		if !ok || ex.Labels["bench"] != "" {
			return
		}
		switch {
		case ex.Labels[v1alpha1.LabelSettled] != "":
			s.see(ex.Name, func(at *sighting) { once(&at.settled) })
		case ex.Status.CompletionTime != nil:
			s.see(ex.Name, func(at *sighting) { once(&at.terminal) })
		}
	})
}

// tekton completes every run as soon as it is there.
func (s *stand) tekton() {
	runs := make(chan *pipelinev1.PipelineRun, 10000)
	defer close(runs)
	for range 16 {
		go func() {
			for pr := range runs {
				s.complete(pr)
			}
		}()
	}
	s.follow(&pipelinev1.PipelineRunList{}, v1alpha1.WorkflowNamespace, func(e watch.Event) {
		pr, ok := e.Object.(*pipelinev1.PipelineRun)
		if ok && e.Type == watch.Added && !pr.IsDone() && pr.Annotations[v1alpha1.AnnotationExecution] != "" {
			s.see(executionOf(pr), func(at *sighting) { once(&at.run) })
			runs <- pr
		}
	})
}

func executionOf(pr *pipelinev1.PipelineRun) string {
	return pr.Annotations[v1alpha1.AnnotationExecution][len(users)+1:]
}

func (s *stand) complete(pr *pipelinev1.PipelineRun) {
	finish(pr)
	if err := s.client.Status().Update(s.ctx, pr); err != nil {
		if s.ctx.Err() == nil && !apierrors.IsConflict(err) { // it was shown twice
			s.b.Errorf("completing %s: %v", pr.Name, err)
		}
		return
	}
	s.see(executionOf(pr), func(at *sighting) { once(&at.finished) })
}

func finish(pr *pipelinev1.PipelineRun) {
	now := metav1.Now()
	pr.Status.StartTime, pr.Status.CompletionTime = &now, &now
	pr.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionTrue, Reason: "Succeeded", Message: "Tasks Completed: 1 (Failed: 0, Cancelled 0), Skipped: 0"})
}

// execution is one of workflow heal on a target, with the finalizer that admission
// would set.
func execution(name, target string) *v1alpha1.WorkflowExecution {
	return &v1alpha1.WorkflowExecution{
		ObjectMeta: metav1.ObjectMeta{Namespace: users, Name: name, Finalizers: []string{v1alpha1.ExecutionFinalizer}},
		Spec: v1alpha1.WorkflowExecutionSpec{
			WorkflowRef:    v1alpha1.WorkflowRef{WorkflowID: "heal", Version: "1.0.0"},
			TargetResource: fmt.Sprintf("%s/deployment/%s", users, target),
		},
	}
}

func (s *stand) submit(name, target string) {
	s.see(name, func(at *sighting) { once(&at.asked) })
	if err := s.client.Create(s.ctx, execution(name, target)); err != nil {
		s.b.Errorf("creating %s: %v", name, err)
	}
	s.see(name, func(at *sighting) { once(&at.created) })
}

// settled waits until nothing is owed for n executions whose names begin alike.
func (s *stand) settled(prefix string, n int) {
	s.b.Helper()
	s.await(fmt.Sprintf("%d of %s are settled", n, prefix), func() bool { return len(s.all(prefix, isSettled)) >= n })
}

func isSettled(at *sighting) bool { return !at.settled.IsZero() }

// all are the sightings of executions whose names begin alike. The lock is held.
func (s *stand) all(prefix string, ok func(*sighting) bool) []*sighting {
	var all []*sighting
	for name, at := range s.seen {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix && ok(at) {
			all = append(all, at)
		}
	}
	return all
}

// known makes the records of targets t-0 … by running something on each.
func (s *stand) known(targets int) {
	s.b.Helper()
	s.parallel(32, targets, func(i int) { s.submit(fmt.Sprint("known-", i), fmt.Sprint("t-", i)) })
	s.settled("known-", targets)
}

// parallel does n things, so many at a time.
func (s *stand) parallel(at, n int, do func(int)) {
	var all sync.WaitGroup
	next := make(chan int)
	for range at {
		all.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
}

// percentile of durations, in milliseconds.
func percentile(all []time.Duration, p float64) float64 {
	slices.Sort(all)
	return float64(all[min(len(all)-1, int(float64(len(all))*p/100))].Microseconds()) / 1000
}

func full() bool { return os.Getenv("KUBERNAUT_TEST") == "full" }
