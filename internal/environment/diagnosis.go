package environment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cluster"
	"kubernaut.ai/kubernaut/internal/environment/diagnose"
	"kubernaut.ai/kubernaut/internal/environment/observe"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/readiness"
	"kubernaut.ai/kubernaut/internal/environment/run"
	"kubernaut.ai/kubernaut/internal/environment/upstream"
)

// Seen is a diagnosis, and what it was made from.
type Seen struct {
	diagnose.Diagnosis
	snapshot diagnose.Snapshot
	files    map[string][]byte
}

// Bundle writes all of it as a tar.gz without secrets.
func (s Seen) Bundle(w io.Writer) error { return diagnose.Bundle(w, s.snapshot, s.files) }

// FailedUp is an Up that did not reach its end, with the causes.
type FailedUp struct {
	diagnose.Diagnosis
	Err error // what the steps said
}

// Error tells the causes; where none is proved, what the steps said.
func (f *FailedUp) Error() string {
	if len(f.Findings) == 0 {
		return f.Err.Error()
	}
	var failure *run.Failure
	text := "the environment does not come up"
	if errors.As(f.Err, &failure) {
		var steps []string
		for _, c := range failure.Causes {
			steps = append(steps, c.Step)
		}
		text += "; failed: " + strings.Join(steps, ", ")
	}
	return text + "\n" + strings.TrimRight(f.Text(), "\n")
}

// Unwrap gives what the steps said to errors.Is and errors.As.
func (f *FailedUp) Unwrap() error { return f.Err }

// ownNamespaces are those that the environment fills. What users run is not its own.
var ownNamespaces = []string{"kube-system", upstream.TektonNamespace, upstream.ResolversNamespace, v1alpha1.SystemNamespace}

// diagnosisWithin is how long a failed Up may look for the causes.
const diagnosisWithin = 15 * time.Second

// Diagnose names the root causes of what is not well in the environment. It
// changes nothing, and works as well when its last Up failed.
func Diagnose(ctx context.Context, o Options) (Seen, error) {
	w, err := existing(o)
	if err != nil {
		return Seen{}, err
	}
	c, err := w.anyCluster()
	if err != nil {
		return Seen{}, err
	}
	status, err := c.Status(ctx)
	if err != nil {
		return Seen{}, err
	}
	last := w.lastJournal()
	up := w.lastUp(last)
	if status.State == cluster.Absent && len(up.steps) == 0 {
		return Seen{}, notRunning{fmt.Errorf("no environment is running; start one with `%s`", w.upCommand())}
	}
	seen, err := w.diagnose(ctx, status, up)
	if err != nil {
		return Seen{}, err
	}
	if len(last) > 0 {
		seen.files["journal.jsonl"] = last.masked(seen.snapshot.Mask)
	}
	return seen, nil
}

// lastUp is what is known of the Up that made the environment.
type lastUp struct {
	steps    []diagnose.Step // that failed by themselves
	finished bool
	made     []plan.Object // must be there since
}

func (w *world) lastUp(j journal) lastUp {
	up := lastUp{steps: j.failed(), finished: j.finished()}
	if up.finished { // else some may not have been applied again yet
		up.made = slices.DeleteFunc(openLedger(w.dir(ledgerFile)).objects(), func(o plan.Object) bool { return !stays(o) })
	}
	return up
}

// stays tells whether an object that was made goes only when somebody removes it.
func stays(o plan.Object) bool {
	return observe.Reads(o.Kind) && o.Kind != "Job" && o.Kind != "Pod"
}

func (w *world) diagnose(ctx context.Context, status cluster.Status, up lastUp) (Seen, error) {
	s := diagnose.Snapshot{Taken: time.Now(), Steps: up.steps}
	s.MaskSteps()
	files := map[string][]byte{}
	if status.State != cluster.Absent {
		k, err := w.kube()
		if err != nil {
			return Seen{}, err
		}
		if s, err = observe.Snapshot(ctx, k.Reader(), observe.Scope{Namespaces: ownNamespaces, Whole: true, Steps: up.steps, Awaited: up.made}); err != nil {
			return Seen{}, err
		}
		s.Unfinished = !up.finished
		if s.Server.Error != "" {
			s.Server.Address, s.Server.Components = status.Server, broken(status)
		}
		for _, c := range s.Server.Components {
			files["cluster/"+c.Name+".log"] = []byte(strings.Join(c.Lines, "\n") + "\n")
		}
	}
	return Seen{diagnose.Of(s), s, files}, nil
}

// broken are the components of the cluster itself that are not ready.
func broken(status cluster.Status) []diagnose.Component {
	var all []diagnose.Component
	for _, c := range status.Components {
		if c.Ready && c.Problem == "" {
			continue
		}
		path := filepath.Join(status.Logs, c.Name+".log")
		all = append(all, diagnose.Component{Name: c.Name, Problem: c.Problem, Log: path, Lines: tail(path, 20)})
	}
	return all
}

// tail is the end of a log file, and nothing when it cannot be read.
func tail(path string, lines int) []string {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	const enough = 32 << 10
	if info, err := file.Stat(); err == nil && info.Size() > enough {
		_, _ = file.Seek(-enough, io.SeekEnd) // else the beginning is read
	}
	raw, err := io.ReadAll(io.LimitReader(file, enough))
	if err != nil || len(raw) == 0 {
		return nil
	}
	all := strings.Split(strings.TrimRight(diagnose.NewMask(nil).Text(string(raw)), "\n"), "\n")
	return all[max(0, len(all)-lines):]
}

// explained adds the causes to the error of a failed run. Looking for them takes
// no longer than diagnosisWithin; what is not found then is left out.
func (w *world) explained(ctx context.Context, runErr error) error {
	var failure *run.Failure
	if !errors.As(runErr, &failure) || len(failure.Causes) == 0 {
		return runErr
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), diagnosisWithin)
	defer cancel()
	var steps []diagnose.Step
	for _, c := range failure.Causes {
		steps = append(steps, stepThatFailed(c))
	}
	c, err := w.anyCluster()
	if err != nil {
		return runErr
	}
	status, err := c.Status(ctx)
	if err != nil {
		return runErr
	}
	seen, err := w.diagnose(ctx, status, lastUp{steps: steps})
	if err != nil {
		return runErr
	}
	w.keepDiagnosis(seen)
	return &FailedUp{seen.Diagnosis, runErr}
}

func stepThatFailed(c run.Cause) diagnose.Step {
	s := diagnose.Step{Name: c.Step, Error: c.Err.Error()}
	var f *readiness.Failure
	if errors.As(c.Err, &f) {
		s.Object, s.Findings = f.Object, f.Findings
	}
	return s
}

// keepDiagnosis leaves it beside the report. It was printed as well.
func (w *world) keepDiagnosis(seen Seen) {
	raw, err := json.MarshalIndent(seen.Diagnosis, "", "  ")
	if err == nil {
		_ = os.WriteFile(w.dir("diagnosis.json"), append(raw, '\n'), 0o600) // see above
	}
}

// DiagnoseNamespaces names the root causes of what is not well in namespaces of
// any cluster; in all of them when none is named.
func DiagnoseNamespaces(ctx context.Context, cfg *rest.Config, namespaces ...string) (Seen, error) {
	c, err := readiness.New(cfg)
	if err != nil {
		return Seen{}, err
	}
	if len(namespaces) == 0 {
		list, err := c.Core.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		if err != nil && !observe.Unreachable(err) {
			return Seen{}, fmt.Errorf("listing the namespaces: %w; name one with -n", err)
		}
		if err == nil {
			for _, n := range list.Items {
				namespaces = append(namespaces, n.Name)
			}
		}
	}
	var missing []plan.Object
	for _, n := range namespaces {
		missing = append(missing, plan.Object{Kind: "Namespace", Name: n})
	}
	s, err := observe.Snapshot(ctx, c.Reader(), observe.Scope{Namespaces: slices.Clone(namespaces), Whole: true, Awaited: missing})
	if err != nil {
		return Seen{}, err
	}
	if s.Server.Error != "" {
		s.Server.Address = cfg.Host
	}
	return Seen{diagnose.Of(s), s, map[string][]byte{}}, nil
}
