package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/cluster"
	"kubernaut.ai/kubernaut/internal/lockfile"
	"kubernaut.ai/kubernaut/internal/pki"
)

// Options say which local cluster is meant and what it should be like.
type Options struct {
	Name     string // a short DNS label; "local" when empty
	Port     int    // loopback port of the API server; 0: the first free one from 16443
	Registry *Registry
	Checked  bool // the caller has done Check: Up does not repeat it
	Keep     bool // a node that does not become ready stays for a look
	AuditLog bool // the API server writes down every change, and who made it
}

// Cluster is one local cluster. It holds no state: everything is on disk, so
// any process may call any method.
type Cluster struct {
	cache   build.Cache
	options Options
	node    node
}

// defaultName is that of the cluster which commands mean when they are told no name.
const defaultName = "local"

var _ cluster.Cluster = (*Cluster)(nil)

var validName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$`)

// New returns the cluster of that name. It looks at nothing and starts nothing.
func New(cache build.Cache, o Options) (*Cluster, error) {
	if o.Name == "" {
		o.Name = defaultName
	}
	if !validName.MatchString(o.Name) {
		return nil, fmt.Errorf("cluster name %q: want at most 20 lower-case letters, digits and dashes, a letter first", o.Name)
	}
	n := node{
		Name:     o.Name,
		Dir:      filepath.Join(cache.Dir, "env", o.Name, "node"),
		Content:  filepath.Join(cache.Dir, "content", o.Name),
		Registry: o.Registry,
		Audited:  o.AuditLog,
	}
	return &Cluster{cache: cache, options: o, node: n}, nil
}

// AuditLog is the file that the API server writes its audit log to, when it was
// asked to.
func (c *Cluster) AuditLog() string { return c.node.log("audit") }

// Up makes sure that the node runs and is ready.
func (c *Cluster) Up(ctx context.Context, say func(note string)) error {
	release, err := c.lock(ctx, say)
	if err != nil {
		return err
	}
	defer release()
	if err := c.up(ctx, say); err != nil {
		return fmt.Errorf("starting cluster %s: %w", c.node.Name, err)
	}
	return nil
}

// up starts the node unless it runs, and waits for it. The caller holds the lock.
func (c *Cluster) up(ctx context.Context, say func(note string)) error {
	rec, running, err := c.running()
	if err != nil {
		return err
	}
	if running && c.answers(ctx) == nil {
		return nil
	}
	if running {
		told, err := c.report(rec)
		if err != nil {
			return err
		}
		if problem := c.hopeless(rec, told); problem != nil {
			say(fmt.Sprintf("starting the node anew: %v", problem))
			running = false
		}
	}
	if !running {
		if rec, err = c.start(ctx, rec, say); err != nil {
			return err
		}
	}
	err = c.await(ctx, rec, say)
	if err == nil || c.options.Keep || ctx.Err() != nil { // who was interrupted goes on with the next Up, or ends it with Down
		return err
	}
	return errors.Join(err, c.sweep(context.WithoutCancel(ctx), rec))
}

// Down ends the node and removes what it was, but for containerd's store in the
// cache, with which the next start is faster.
func (c *Cluster) Down(ctx context.Context) error {
	release, err := c.lock(ctx, func(string) {})
	if err != nil {
		return err
	}
	defer release()
	rec, _, err := c.running()
	if err != nil {
		return err
	}
	if err := c.sweep(ctx, rec); err != nil {
		return fmt.Errorf("ending cluster %s: %w", c.node.Name, err)
	}
	if err := os.RemoveAll(c.node.Dir); err != nil {
		return fmt.Errorf("removing the files of cluster %s: %w", c.node.Name, err)
	}
	_ = os.Remove(filepath.Dir(c.node.Dir)) // others may keep files there
	return nil
}

// Status looks at the node without waiting for it.
func (c *Cluster) Status(ctx context.Context) (cluster.Status, error) {
	rec, running, err := c.running()
	if err != nil || !running {
		return cluster.Status{State: cluster.Absent}, err
	}
	status := cluster.Status{State: cluster.Starting, Server: rec.server(), Since: rec.Started, Logs: c.node.path("logs")}
	told, err := c.report(rec)
	if err != nil {
		return status, err
	}
	for _, component := range told.Components {
		status.Components = append(status.Components, component.Component)
	}
	if err := c.answers(ctx); err != nil {
		status.Problem = err.Error()
		return status, nil
	}
	status.State = cluster.Ready
	return status, nil
}

// Kubeconfig is for the administrator, from the machine.
func (c *Cluster) Kubeconfig(context.Context) ([]byte, error) {
	rec, running, err := c.running()
	if err != nil {
		return nil, err
	}
	if !running {
		return nil, c.absent()
	}
	ca, err := os.ReadFile(c.node.cert("ca"))
	if err != nil {
		return nil, err
	}
	var admin pki.Pair
	if admin.Cert, err = os.ReadFile(c.node.cert("admin")); err != nil {
		return nil, err
	}
	if admin.Key, err = os.ReadFile(c.node.key("admin")); err != nil {
		return nil, err
	}
	return c.node.kubeconfig(rec.server(), ca, admin)
}

func (c *Cluster) absent() error {
	command := "kubernaut env up"
	if c.node.Name != defaultName {
		command += " --name " + c.node.Name
	}
	return fmt.Errorf("cluster %s does not run: start it with `%s`", c.node.Name, command)
}

func (c *Cluster) lock(ctx context.Context, say func(string)) (func(), error) {
	path := filepath.Join(c.cache.Dir, "locks", "cluster-"+c.node.Name)
	return lockfile.Acquire(ctx, path, func() { say("waiting for another process that works on cluster " + c.node.Name) })
}

// group is the name of the node's control group. Two cache folders may have a
// cluster of the same name.
func (c *Cluster) group() string {
	sum := sha256.Sum256([]byte(c.node.Dir))
	return fmt.Sprintf("%s-%x", c.node.hostname(), sum[:4])
}

// running reads what is known of the node and asks whether it still lives. A
// record that cannot be read counts as none: sweep finds what it was about.
func (c *Cluster) running() (rec record, alive bool, err error) {
	err = readJSON(c.node.recordFile(), &rec)
	if errors.Is(err, os.ErrPermission) {
		return rec, false, fmt.Errorf("looking at cluster %s: %w: use the account that started it", c.node.Name, err)
	}
	if err != nil {
		return record{}, false, nil
	}
	return rec, rec.Init.alive(), nil
}

func (r record) server() string { return fmt.Sprintf("https://127.0.0.1:%d", r.Port) }

// report reads what init last said about the node, if this start of it did.
func (c *Cluster) report(rec record) (report, error) {
	var told report
	err := readJSON(c.node.statusFile(), &told)
	if errors.Is(err, os.ErrNotExist) || err == nil && told.Init != rec.Init {
		return report{Init: rec.Init}, nil
	}
	return told, err
}

// answers asks init's report and the API server itself whether all is ready.
func (c *Cluster) answers(ctx context.Context) error {
	rec, running, err := c.running()
	if err != nil || !running {
		return errors.Join(err, c.absent())
	}
	told, err := c.report(rec)
	if err != nil {
		return err
	}
	if err := c.hopeless(rec, told); err != nil {
		return err
	}
	if !told.Ready {
		return errors.New(told.note())
	}
	client, err := c.node.httpClient("ca", "admin")
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	return c.ask(ctx, client, rec)
}

func (c *Cluster) ask(ctx context.Context, client *http.Client, rec record) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return c.node.nodeReady(client, rec.server())(ctx)
}
