package environment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/cluster"
	"kubernaut.ai/kubernaut/internal/cluster/local"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/progress"
	"kubernaut.ai/kubernaut/internal/environment/report"
	"kubernaut.ai/kubernaut/internal/environment/run"
	"kubernaut.ai/kubernaut/internal/lockfile"
)

// DefaultName is the environment's name when none is given.
const DefaultName = "local"

// ErrNotRunning says that there is no running environment of that name.
var ErrNotRunning = errors.New("no environment is running; start one with `kubernaut env up`")

// Options say which environment is meant and how much of it.
type Options struct {
	Name  string   // several environments live side by side; empty: DefaultName
	Port  int      // loopback port of the API server; 0: a free one
	Only  []string // names of steps: these and what they need; empty: everything
	Cores int      // how many steps that keep a core busy may run at once; 0: as many as the machine has
}

// slots is how much weight runs at once: one more than there are cores, because
// what loads an image waits for the disk while a compiler keeps the cores busy.
func (o Options) slots() int {
	if o.Cores > 0 {
		return o.Cores + 1
	}
	return runtime.NumCPU() + 1
}

// components are all steps of the environment.
func (w *world) components(ctx context.Context) ([]component, error) {
	all := w.buildComponents()
	images, imagesErr := w.imageComponents()
	clusters, clusterErr := w.clusterComponents()
	tekton, tektonErr := w.tektonComponents()
	product, productErr := w.productComponents(ctx)
	if err := errors.Join(imagesErr, clusterErr, tektonErr, productErr); err != nil {
		return nil, err
	}
	all = slices.Concat(all, images, clusters, tekton, product, w.databaseComponents())
	return append(all, w.secretsComponent()), nil
}

func (w *world) plan(ctx context.Context, only []string) (*plan.Plan, map[string]run.Task, error) {
	components, err := w.components(ctx)
	if err != nil {
		return nil, nil, err
	}
	w.readTimings().expect(components, w.running(ctx))
	p, tasks, err := planOf(components)
	if err == nil && len(only) > 0 {
		p, err = p.Only(only...)
	}
	return p, tasks, err
}

// Plan is what Up would do. It changes nothing.
func Plan(ctx context.Context, o Options) (*plan.Plan, error) {
	w, err := newWorld(o)
	if err != nil {
		return nil, err
	}
	p, _, err := w.plan(ctx, o.Only)
	return p, err
}

// Up brings the environment up, or completes or updates one that is there, and
// returns the report of it, also when it failed. Events go to sink and to the
// environment's journal.
func Up(ctx context.Context, o Options, sink progress.Sink) (report.Report, error) {
	w, err := newWorld(o)
	if err != nil {
		return report.Report{}, err
	}
	release, err := w.lock(ctx, sink)
	if err != nil {
		return report.Report{}, err
	}
	defer release()
	p, tasks, err := w.plan(ctx, o.Only)
	if err != nil {
		return report.Report{}, fmt.Errorf("the plan of environment %s is refused: %w", w.options.Name, err)
	}
	return w.run(ctx, p, tasks, sink)
}

// Build compiles every program and makes every image, and starts nothing.
func Build(ctx context.Context, o Options, sink progress.Sink) (report.Report, error) {
	w, err := newWorld(o)
	if err != nil {
		return report.Report{}, err
	}
	images, err := w.imageComponents()
	if err != nil {
		return report.Report{}, err
	}
	images = slices.DeleteFunc(images, func(c component) bool { return !strings.HasPrefix(c.Name, "image-") })
	p, tasks, err := planOf(append(w.buildComponents(), images...))
	if err != nil {
		return report.Report{}, err
	}
	recorder := &progress.Recorder{}
	err = run.Run(ctx, p, tasks, run.Options{Cores: o.slots(), Sink: progress.All(recorder, sink)})
	return report.From(recorder.Events()), err
}

// run executes the plan and keeps the journal and the report.
func (w *world) run(ctx context.Context, p *plan.Plan, tasks map[string]run.Task, sink progress.Sink) (report.Report, error) {
	if err := os.MkdirAll(w.dir(), 0o755); err != nil {
		return report.Report{}, fmt.Errorf("keeping the journal: %w", err)
	}
	journal, err := os.Create(w.dir("journal.jsonl"))
	if err != nil {
		return report.Report{}, fmt.Errorf("keeping the journal: %w", err)
	}
	defer journal.Close()
	recorder := &progress.Recorder{}
	all := progress.All(recorder, progress.JSON(journal), sink)
	running := w.running(ctx)
	runErr := run.Run(ctx, p, tasks, run.Options{Cores: w.options.slots(), Sink: all})
	r := report.From(recorder.Events())
	return r, errors.Join(runErr, w.keep(r), w.learn(r, running))
}

// running tells whether the environment's cluster is up at the moment.
func (w *world) running(ctx context.Context) bool {
	c, err := w.anyCluster()
	if err != nil {
		return false
	}
	status, err := c.Status(ctx)
	return err == nil && status.State == cluster.Ready
}

func (w *world) keep(r report.Report) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	aside := w.dir("report.json.new")
	if err := os.WriteFile(aside, append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("keeping the report: %w", err)
	}
	return os.Rename(aside, w.dir("report.json"))
}

// LastReport is the report of the last Up of that environment.
func LastReport(name string) (report.Report, error) {
	w, err := existing(Options{Name: name})
	if err != nil {
		return report.Report{}, err
	}
	raw, err := os.ReadFile(w.dir("report.json"))
	if errors.Is(err, os.ErrNotExist) {
		return report.Report{}, ErrNotRunning
	}
	if err != nil {
		return report.Report{}, err
	}
	var r report.Report
	return r, json.Unmarshal(raw, &r)
}

// Down ends the environment and removes everything of it but the cache.
func Down(ctx context.Context, o Options) error {
	w, err := existing(o)
	if err != nil {
		return err
	}
	release, err := w.lock(ctx, progress.All())
	if err != nil {
		return err
	}
	defer release()
	c, err := w.anyCluster()
	if err != nil {
		return err
	}
	if err := c.Down(ctx); err != nil {
		return err
	}
	return os.RemoveAll(w.dir())
}

// lock keeps other processes from working on the same environment.
func (w *world) lock(ctx context.Context, sink progress.Sink) (release func(), err error) {
	path := filepath.Join(w.cache.Dir, "locks", "env-"+w.options.Name)
	return lockfile.Acquire(ctx, path, func() {
		note := "waiting for another process that works on environment " + w.options.Name
		sink.Show(progress.Event{At: time.Now(), State: progress.Queued, Note: note})
	})
}

// anyCluster is the environment's cluster for looking at it or ending it: it
// asks for no certificate, and makes none.
func (w *world) anyCluster() (cluster.Cluster, error) {
	return local.New(w.cache, local.Options{Name: w.options.Name})
}

// Kubeconfig is the administrator's kubeconfig of a running environment, or
// ErrNotRunning. It reads files and takes milliseconds.
func Kubeconfig(ctx context.Context, name string) ([]byte, error) {
	w, err := existing(Options{Name: name})
	if err != nil {
		return nil, err
	}
	c, err := w.anyCluster()
	if err != nil {
		return nil, err
	}
	raw, err := c.Kubeconfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNotRunning, err)
	}
	return raw, nil
}

// Check looks at everything the environment needs from the machine.
func Check(ctx context.Context) ([]local.Finding, error) {
	cache, err := build.Open()
	if err != nil {
		return nil, err
	}
	return local.Check(ctx, cache), nil
}
