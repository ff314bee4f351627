package environment

import (
	"bytes"
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
	"kubernaut.ai/kubernaut/internal/environment/graph"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/progress"
	"kubernaut.ai/kubernaut/internal/environment/report"
	"kubernaut.ai/kubernaut/internal/environment/run"
	"kubernaut.ai/kubernaut/internal/image"
	"kubernaut.ai/kubernaut/internal/lockfile"
)

// DefaultName is the environment's name when none is given.
const DefaultName = "local"

// ErrNotRunning says that there is no running environment of that name.
var ErrNotRunning = errors.New("no environment is running; start one with `kubernaut env up`")

// notRunning is ErrNotRunning in words that name the environment.
type notRunning struct{ error }

func (notRunning) Is(target error) bool { return target == ErrNotRunning }

// Options say which environment is meant and how much of it.
type Options struct {
	Place                             // where it runs
	Name     string                   // several environments live side by side; empty: DefaultName
	Port     int                      // loopback port of the API server; 0: a free one
	Only     []string                 // names of steps or components: these and what they need; empty: everything
	Cores    int                      // how many steps that keep a core busy may run at once; 0: as many as the machine has
	Timeouts map[string]time.Duration // how long steps may take, by name; "all": every other step
	AuditLog bool                     // the API server of a cluster of our own writes down every change, and who made it
	Keep     bool                     // a node that does not become ready is not ended, for a look
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
	var err error
	if w.found, err = w.survey(ctx); err != nil {
		return nil, err
	}
	all := w.buildComponents()
	images, imagesErr := w.imageComponents()
	clusters, clusterErr := w.clusterComponents()
	tekton, tektonErr := w.tektonComponents()
	if w.found.tekton {
		tekton = []component{w.tektonOfOthers(tekton)}
	}
	product, productErr := w.productComponents(ctx)
	if err := errors.Join(imagesErr, clusterErr, tektonErr, productErr); err != nil {
		return nil, err
	}
	if w.options.Cluster == Local {
		for i := range all { // nothing is compiled on a machine that cannot run it
			all[i].Needs = append(all[i].Needs, needs(machine)...)
		}
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
	if err := limit(components, w.options.Timeouts); err != nil {
		return nil, nil, err
	}
	p, tasks, err := planOf(components)
	if err == nil && len(only) > 0 {
		p, err = p.Only(whole(only)...)
	}
	return p, tasks, w.withStorageHint(err)
}

// wholes are the components that take more than the step of their name: it is
// whole when the last of these is ready.
var wholes = map[string][]string{
	"tekton":        {"tekton", "tekton-settings"},
	partPostgreSQL:  {partPostgreSQL, "database"},
	partRegistry:    {partRegistry, "push-" + image.Tools},
	partDataStorage: {partDataStorage, "schema"},
	partController:  {partController, "admission", partWorkflows, "push-" + image.Tools},
}

// whole replaces the names of components by those of their last steps.
func whole(names []string) []string {
	var all []string
	for _, name := range names {
		if steps, ok := wholes[name]; ok {
			all = append(all, steps...)
			continue
		}
		all = append(all, name)
	}
	return all
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

// Picture draws the plan as SVG.
func Picture(p *plan.Plan) string {
	path, _ := p.Critical()
	steps := p.Steps()
	nodes := make([]graph.Node, len(steps))
	for i, s := range steps {
		nodes[i] = graph.Node{Name: s.Name, Label: progress.Duration(s.Expected), After: p.After(s.Name)}
		if slices.Contains(path, s.Name) {
			nodes[i].Class = "critical"
		}
	}
	return graph.SVG(nodes)
}

// Up brings the environment up, or completes or updates one that is there, and
// returns the report of it, also when it failed. Events go to sink and to the
// environment's journal.
func Up(ctx context.Context, o Options, sink progress.Sink) (report.Report, error) {
	w, err := newWorld(o)
	if err != nil {
		return report.Report{}, err
	}
	release, err := w.lock(ctx, func(note string) {
		sink.Show(progress.Event{At: time.Now(), State: progress.Queued, Note: note})
	})
	if err != nil {
		return report.Report{}, err
	}
	defer release()
	p, tasks, err := w.plan(ctx, o.Only)
	if err != nil {
		return report.Report{}, fmt.Errorf("the plan of environment %s is refused: %w", w.options.Name, err)
	}
	if err := w.keepPlace(); err != nil {
		return report.Report{}, err
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
	journal, err := w.createJournal()
	if err != nil {
		return report.Report{}, err
	}
	defer journal.Close()
	recorder := &progress.Recorder{}
	all := progress.All(recorder, progress.JSON(journal), sink)
	running := w.running(ctx)
	meter := w.measure(ctx)
	runErr := run.Run(ctx, p, tasks, run.Options{Cores: w.options.slots(), Sink: all})
	w.notePulls(ctx)
	r := report.From(recorder.Events())
	r.Environment, r.Usage, r.Images = w.options.Name, meter.stop(), w.times.sorted()
	return r, errors.Join(w.explained(ctx, runErr), w.keep(r), w.learn(r, running))
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

// ReportPage is where the last report of that environment is kept as a page.
func ReportPage(name string) (string, error) {
	w, err := existing(Options{Name: name})
	if err != nil {
		return "", err
	}
	return w.dir("report.html"), nil
}

// keep writes the report, for people and for programs.
func (w *world) keep(r report.Report) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	var page bytes.Buffer
	if err := r.HTML(&page); err != nil {
		return err
	}
	for name, content := range map[string][]byte{"report.json": append(raw, '\n'), "report.html": page.Bytes()} {
		aside := w.dir(name + ".new")
		if err := errors.Join(os.WriteFile(aside, content, 0o644), os.Rename(aside, w.dir(name))); err != nil {
			return fmt.Errorf("keeping the report: %w", err)
		}
	}
	return nil
}

// upCommand is what brings this environment up.
func (w *world) upCommand() string {
	if w.options.Name == DefaultName {
		return "kubernaut env up"
	}
	return "kubernaut env up --name " + w.options.Name
}

// LastReport is the report of the last Up of that environment.
func LastReport(name string) (report.Report, error) {
	w, err := existing(Options{Name: name})
	if err != nil {
		return report.Report{}, err
	}
	raw, err := os.ReadFile(w.dir("report.json"))
	if errors.Is(err, os.ErrNotExist) {
		return report.Report{}, notRunning{fmt.Errorf("no `%s` has left a report", w.upCommand())}
	}
	if err != nil {
		return report.Report{}, err
	}
	var r report.Report
	return r, json.Unmarshal(raw, &r)
}

// uninstalling is how long it may take to leave a cluster of others; an error
// then names what is still there, and what holds it.
const uninstalling = 10 * time.Minute

// Down ends the environment and removes everything of it but the cache. It says
// what it waits for.
func Down(ctx context.Context, o Options, say func(note string)) error {
	w, err := existing(o)
	if err != nil {
		return err
	}
	release, err := w.lock(ctx, say)
	if err != nil {
		return err
	}
	defer release()
	if !w.options.ownsCluster() {
		if err := w.leave(ctx, say); err != nil {
			return fmt.Errorf("%w\nwhere that cluster is gone, `kubernaut env down --name %s --forget` forgets the environment", err, w.options.Name)
		}
		return os.RemoveAll(w.dir())
	}
	c, err := w.anyCluster()
	if err != nil {
		return err
	}
	if err := c.Down(ctx); err != nil {
		return err
	}
	return os.RemoveAll(w.dir())
}

// Forget removes what is known here of an environment whose cluster is not ours. What
// was installed there stays, if the cluster is still there.
func Forget(ctx context.Context, name string, say func(note string)) error {
	w, err := existing(Options{Name: name})
	if err != nil {
		return err
	}
	if w.options.ownsCluster() {
		return fmt.Errorf("environment %s has a cluster of its own, which would stay: `kubernaut env down --name %s` removes both", w.options.Name, w.options.Name)
	}
	release, err := w.lock(ctx, say)
	if err != nil {
		return err
	}
	defer release()
	return os.RemoveAll(w.dir())
}

// lock keeps other processes from working on the same environment.
func (w *world) lock(ctx context.Context, say func(note string)) (release func(), err error) {
	path := filepath.Join(w.cache.Dir, "locks", "env-"+w.options.Name)
	return lockfile.Acquire(ctx, path, func() { say("waiting for another process that works on environment " + w.options.Name) })
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
		return nil, notRunning{err}
	}
	return raw, nil
}

// audited is a cluster whose API server can write an audit log for us.
type audited interface{ AuditLog() string }

// AuditLog is the file to which the API server of an environment writes who changed
// what, when it was brought up with Options.AuditLog.
func AuditLog(name string) (string, error) {
	w, err := existing(Options{Name: name})
	if err != nil {
		return "", err
	}
	c, err := w.anyCluster()
	if err != nil {
		return "", err
	}
	own, ok := c.(audited)
	if !ok {
		return "", fmt.Errorf("environment %s is not on a cluster of its own: the API server's audit log is where its owner has it", name)
	}
	return own.AuditLog(), nil
}

// Check looks at everything the environment needs from the machine.
func Check(ctx context.Context) ([]local.Finding, error) {
	cache, err := build.Open()
	if err != nil {
		return nil, err
	}
	return local.Check(ctx, cache), nil
}
