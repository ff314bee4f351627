package e2e

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/environment"
	"kubernaut.ai/kubernaut/internal/environment/derive"
	"kubernaut.ai/kubernaut/internal/environment/diagnose"
	"kubernaut.ai/kubernaut/internal/environment/observe"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/readiness"
)

//go:embed faults/*.yaml
var faultFiles embed.FS

// namedWithin is how soon after it can be seen a cause must be named, and how
// soon it must end a wait after it can be seen that waiting does not help.
const namedWithin = 15 * time.Second

// faultsAtOnce is how many faults are in the cluster at the same time.
const faultsAtOnce = 8

// fault is a fault to inject, and what must be said of it. It is the first
// document of its file; the others are the manifests that inject it.
type fault struct {
	Code   diagnose.Code `json:"code"`
	Says   []string      `json:"says"`             // parts of the sentence
	Object string        `json:"object,omitempty"` // Kind/name that is named
	When   string        `json:"when,omitempty"`   // empty: always; full: with KUBERNAUT_TEST=full; alone: the same, and with no other fault beside it
	Wait   string        `json:"wait,omitempty"`   // Kind/name whose wait must end by itself
	Slow   bool          `json:"slow,omitempty"`   // somebody may still come and help: it is named and not hopeless

	name      string
	manifests string
}

// injected is a fault in its namespace, and what became of it.
type injected struct {
	fault
	namespace string
	cluster   *readiness.Cluster
	created   []*unstructured.Unstructured
	began     time.Time
	named     time.Time // when the diagnosis named it
	visible   time.Time // when the first proof of it was there
	hopeless  time.Time // when the diagnosis knew that waiting does not help
	decided   time.Time // when the proof of that was there
	foreign   []string  // hopeless causes that any look named, and nobody injected
	found     []diagnose.Finding
	snapshot  diagnose.Snapshot
	err       error
}

func full() bool { return os.Getenv("KUBERNAUT_TEST") == "full" }

// crowded tells whether so much else runs on the machine that times say nothing:
// they are printed then and not judged.
func crowded() bool {
	raw, err := os.ReadFile("/proc/loadavg")
	var load float64
	if _, scanErr := fmt.Sscan(string(raw), &load); err != nil || scanErr != nil {
		return false
	}
	return load > 4*float64(runtime.NumCPU())
}

// faults reads the files; those that only run in the full suite are left out elsewhere,
// and those that start an image of the node where the nodes are not ours: they have none.
func faults(t *testing.T) []fault {
	t.Helper()
	names, err := fs.Glob(faultFiles, "faults/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []fault
	for _, path := range names {
		raw, err := faultFiles.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		head, rest, _ := strings.Cut(string(raw), "\n---\n")
		f := fault{name: strings.TrimSuffix(filepath.Base(path), ".yaml"), manifests: rest}
		if err := yaml.UnmarshalStrict([]byte(head), &f); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if only := os.Getenv("KUBERNAUT_FAULTS"); only != "" && !slices.Contains(strings.Split(only, ","), f.name) {
			continue
		}
		if place().Cluster == environment.Existing && strings.Contains(f.manifests, "{{image ") {
			continue
		}
		if f.When == "" || full() {
			all = append(all, f)
		}
	}
	return all
}

// Every fault that is injected is named by its cause, soon, and nothing else is.
func TestFaultsAreNamed(t *testing.T) {
	w := spec(t)
	cluster, err := readiness.New(w.Config)
	if err != nil {
		t.Fatal(err)
	}
	all := faults(t)
	results := make([]*injected, len(all))
	var running sync.WaitGroup
	places := make(chan struct{}, faultsAtOnce)
	for i, f := range all {
		results[i] = &injected{fault: f, cluster: cluster, namespace: "fault-" + f.name + "-" + rand.String(4)}
		if f.When == "alone" {
			continue
		}
		running.Add(1)
		go func() {
			defer running.Done()
			places <- struct{}{}
			defer func() { <-places }()
			results[i].run(w)
		}()
	}
	running.Wait()
	for _, r := range results {
		t.Run(r.name, func(t *testing.T) {
			if r.When == "alone" {
				r.alone(t, w)
			}
			r.judge(t)
		})
	}
	t.Log("\n" + table(results))
	record(t, results)
}

// run injects the fault, follows it until it is named, and takes it away.
func (r *injected) run(w *world) {
	ctx, cancel := context.WithTimeout(context.Background(), patience) // the spec's own time is for one spec
	defer cancel()
	defer r.remove(w)
	if r.err = r.inject(ctx, w); r.err != nil {
		return
	}
	if r.Wait != "" {
		r.wait(ctx)
	}
	r.err = r.follow(ctx)
}

// wait waits for the object as a bring-up would: that must end, with the cause.
func (r *injected) wait(ctx context.Context) {
	u := r.wanted(r.Wait)
	err := r.cluster.Wait(ctx, []*unstructured.Unstructured{u}, func(string) {})
	if f, ok := err.(*readiness.Failure); ok && f.Hopeless { //nolint:errorlint // it must be this and no other
		r.note(f.Findings, time.Now())
	}
}

// wanted is the object as it was created, or only its name where it was not.
func (r *injected) wanted(kindAndName string) *unstructured.Unstructured {
	kind, name, _ := strings.Cut(kindAndName, "/")
	for _, u := range r.created {
		if u.GetKind() == kind && u.GetName() == name {
			return u
		}
	}
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(map[string]string{"Deployment": "apps/v1"}[kind])
	u.SetKind(kind)
	u.SetName(name)
	u.SetNamespace(r.namespace)
	return u
}

// follow diagnoses the namespace at every change, until the cause is named, and
// certain where it can be.
func (r *injected) follow(ctx context.Context) error {
	changes := r.changes(ctx)
	for {
		s, err := observe.Snapshot(ctx, r.cluster.Reader(), r.scope())
		if err != nil {
			return err
		}
		r.snapshot = s
		d := diagnose.Of(s)
		r.note(d.Findings, time.Now())
		if !r.named.IsZero() {
			r.found = d.Findings
			if r.Slow || !full() || !r.hopeless.IsZero() {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			r.found = d.Findings
			return fmt.Errorf("the cause is not named within %s; seen is:\n%s", patience, d.Text())
		case <-changes:
		}
	}
}

// scope is the fault's namespace, and all of the cluster where that is at fault.
func (r *injected) scope() observe.Scope {
	whole := r.Code == diagnose.DefinitionRefused || r.Code == diagnose.NamespaceStuck || r.Code == diagnose.DatabaseNotOnTCP
	scope := observe.Scope{Namespaces: []string{r.namespace}, Whole: whole}
	if r.Wait != "" {
		scope.Awaited = []plan.Object{derive.Of(r.wanted(r.Wait))}
	}
	return scope
}

// changes tells when something in the namespace has changed.
func (r *injected) changes(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	tell := func() {
		select {
		case changed <- struct{}{}:
		default: // it is told already
		}
	}
	core := r.cluster.Core.CoreV1()
	go func() {
		for ctx.Err() == nil {
			events, err := core.Events(r.namespace).Watch(ctx, metav1.ListOptions{})
			if err != nil {
				return
			}
			for range events.ResultChan() {
				tell()
			}
		}
	}()
	go func() { // what has no event: conditions of namespaces, definitions and runs
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		for ctx.Err() == nil {
			select {
			case <-tick.C:
				tell()
			case <-ctx.Done():
			}
		}
	}()
	return changed
}

// alone injects a fault that others would feel, when no other is there.
func (r *injected) alone(t *testing.T, w *world) {
	node := func(edit func(*corev1.Node)) {
		nodes, err := w.Core.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		n := &nodes.Items[0]
		edit(n)
		if _, err := w.Core.CoreV1().Nodes().Update(context.Background(), n, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	taint := corev1.Taint{Key: "fault", Value: "injected", Effect: corev1.TaintEffectNoSchedule}
	node(func(n *corev1.Node) { n.Spec.Taints = append(n.Spec.Taints, taint) })
	defer node(func(n *corev1.Node) {
		n.Spec.Taints = slices.DeleteFunc(n.Spec.Taints, func(x corev1.Taint) bool { return x.Key == taint.Key })
	})
	r.run(w)
}

// record keeps the snapshots as inputs for the tests of package diagnose when
// KUBERNAUT_RECORD names a folder.
func record(t *testing.T, results []*injected) {
	dir := os.Getenv("KUBERNAUT_RECORD")
	if dir == "" {
		return
	}
	for _, r := range results {
		if r.err != nil || len(r.snapshot.Objects) == 0 {
			continue
		}
		raw, err := yaml.Marshal(r.snapshot)
		if err != nil {
			t.Fatal(err)
		}
		raw = bytes.ReplaceAll(raw, []byte(r.namespace), []byte("shop"))
		if err := os.WriteFile(filepath.Join(dir, r.name+".yaml"), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
