// Package engine is the port to whatever carries out runs.
//
// A run is started at most once: its name derives from the execution, and a name
// that is taken is either ours, and adopted, or a stranger's, and refused. What a
// run reports is translated into execution.Run, in words that are the same for
// every engine; what those mean is decided elsewhere.
//
// Package enginetest is the contract that every Engine passes.
package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/execution"
)

// Engine carries out runs in v1alpha1.WorkflowNamespace.
type Engine interface {
	// Start creates the run, or finds that it exists and is ours. A refusal of the
	// API server is a *Refused; any other error leaves open whether the run exists.
	Start(ctx context.Context, spec Spec) error

	// Observe reports the run. Cached may be a little behind; Fresh reads past
	// every cache. Absence is only ever reported after a fresh read.
	Observe(ctx context.Context, ref Ref, how Freshness) (execution.Run, error)

	// Cancel asks the run to stop and notes why, or, when the run itself is gone
	// or has ended, stops the parts of it that go on. It does not wait. What was
	// asked to stop at once is not asked to stop gracefully any more; a Conflict means
	// that somebody may just have done so.
	Cancel(ctx context.Context, ref Ref, stop execution.Stop) error

	// Occupy creates a run of that name that never runs, so that a late Start of
	// somebody else finds the name taken. A name that is taken already is fine.
	Occupy(ctx context.Context, spec Spec) error

	// LetGo takes our finalizer off a run. A run that is absent is fine.
	LetGo(ctx context.Context, ref Ref) error
}

// Freshness says how current an observation has to be.
type Freshness bool

// How current an observation is.
const (
	Cached Freshness = false
	Fresh  Freshness = true
)

// Ref finds a run and tells whether it is ours.
type Ref struct {
	Name      string
	Execution types.UID
}

// Owns says whether an object is the run, or a part of it.
func (ref Ref) Owns(obj metav1.Object) bool {
	return obj.GetLabels()[v1alpha1.LabelExecutionUID] == string(ref.Execution)
}

// Spec is all an engine needs to know to start a run.
type Spec struct {
	Ref
	ExecutionName  string // namespace/name
	WorkflowID     string
	Version        string
	Target         string // canonical key
	Record         string // name of the RemediationTarget
	CorrelationID  string
	FencingToken   int64
	Image          string
	ServiceAccount string
	PullSecret     string
	Parameters     map[string]string
	Secrets        []string // workspaces of the same name
	ConfigMaps     []string // workspaces of the same name
	Timeout        time.Duration
}

// stem is how much of the execution's name the run's name shows.
const stem = 40

// NameFor is the name of the run of an execution: the same for every attempt to
// start it, and another for an execution that is created again under its name.
func NameFor(ex *v1alpha1.WorkflowExecution) string {
	sum := sha256.Sum256([]byte(ex.UID))
	readable := strings.ReplaceAll(ex.Name[:min(len(ex.Name), stem)], ".", "-")
	return strings.TrimRight(readable, "-") + "-" + hex.EncodeToString(sum[:6])
}

// RefFor finds the run of an execution.
func RefFor(ex *v1alpha1.WorkflowExecution) Ref {
	return Ref{Name: NameFor(ex), Execution: ex.UID}
}

// Witness is an Engine that can tell the last words of a run: the last lines of
// its failed step and what the cluster said of its pod, the newest last.
type Witness interface {
	Evidence(ctx context.Context, ref Ref) []string
}
