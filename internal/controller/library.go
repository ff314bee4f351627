package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/execution"
)

// Library says what workflow references mean. What a version is never changes;
// whether it may run does: the catalog is asked again soon, so that a workflow
// that was disabled stops being started, and an outage of the catalog stops no
// workflow that was seen before.
type Library struct {
	Catalog           Catalog
	AllowUnregistered bool
	// Patience is how long one question to the catalog may take. Default 3s.
	Patience time.Duration
	// Trust is how long an answer, or that there was none, is not asked for again.
	// Default 5s.
	Trust time.Duration
	// Now is the clock. Default: time.Now.
	Now func() time.Time

	mu    sync.Mutex
	known map[v1alpha1.WorkflowRef]answer
}

// answer is what the catalog said of a reference, or why it said nothing, and until
// when that holds without asking.
type answer struct {
	workflow    *v1alpha1.ResolvedWorkflow
	unavailable string
	until       time.Time
}

// maxKnown bounds the memory for entries; beyond it they are read again.
const maxKnown = 4096

// Resolve says what a reference means, as far as it can be known now.
func (l *Library) Resolve(ctx context.Context, ref v1alpha1.WorkflowRef) execution.Workflow {
	known, current := l.recall(ref)
	if current {
		return known
	}
	ctx, cancel := context.WithTimeout(ctx, orDefault(l.Patience, 3*time.Second))
	defer cancel()
	entry, err := l.Catalog.WorkflowVersion(ctx, ref.WorkflowID, ref.Version)
	definite := err == nil || errors.Is(err, datastorage.ErrNotFound) || errors.Is(err, datastorage.ErrInvalid)
	w := l.meaning(ref, entry, err)
	if !definite && known.Resolved != nil {
		w = execution.Workflow{Resolved: known.Resolved} // it serves, and nobody waits for a catalog that is away again and again
	}
	l.remember(ref, w)
	return w
}

// meaning is what an answer of the catalog says of a reference.
func (l *Library) meaning(ref v1alpha1.WorkflowRef, entry datastorage.Workflow, err error) execution.Workflow {
	switch {
	case errors.Is(err, datastorage.ErrNotFound), errors.Is(err, datastorage.ErrInvalid):
		return l.unregistered(ref, fmt.Sprintf("the catalog has no workflow %s@%s", ref.WorkflowID, ref.Version))
	case err != nil:
		return execution.Workflow{Unavailable: fmt.Sprintf("the catalog cannot be asked about %s@%s: %s", ref.WorkflowID, ref.Version, firstLine(err))}
	case entry.Status == datastorage.WorkflowStatusDisabled || entry.Status == datastorage.WorkflowStatusArchived:
		w := problem("disabled-workflow", "workflow %s@%s is %s in the catalog", ref.WorkflowID, ref.Version, entry.Status)
		if sameImage(ref, entry) { // what was started before is still told
			w.Resolved = resolved(entry)
		}
		return w
	case !sameImage(ref, entry):
		return l.unregistered(ref, fmt.Sprintf("the catalog has workflow %s@%s with image %s", ref.WorkflowID, ref.Version, pinned(entry.ContainerImage, entry.ContainerDigest)))
	}
	return execution.Workflow{Resolved: resolved(entry)}
}

func orDefault(d, preset time.Duration) time.Duration {
	if d == 0 {
		return preset
	}
	return d
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func problem(rule, format string, args ...any) execution.Workflow {
	return execution.Workflow{Problem: &execution.Problem{
		Rule: rule, Reason: v1alpha1.FailureConfigurationError, Message: fmt.Sprintf(format, args...),
	}}
}

// sameImage: a reference that names an image must mean the one of the catalog.
func sameImage(ref v1alpha1.WorkflowRef, entry datastorage.Workflow) bool {
	if ref.ContainerImage == "" {
		return true
	}
	image := pinned(entry.ContainerImage, entry.ContainerDigest)
	return pinned(ref.ContainerImage, ref.ContainerDigest) == image || ref.ContainerDigest == "" && ref.ContainerImage == entry.ContainerImage
}

// pinned is image@digest, without a tag that nobody looks at beside a digest.
func pinned(image, digest string) string {
	if digest == "" {
		return image
	}
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndexByte(image, ':'); colon > strings.LastIndexByte(image, '/') {
		image = image[:colon]
	}
	return image + "@" + digest
}

// unregistered is an image that the catalog does not know. Where it may run at
// all, it has the default account and no Secrets.
func (l *Library) unregistered(ref v1alpha1.WorkflowRef, why string) execution.Workflow {
	if ref.ContainerImage == "" {
		return problem("unknown-workflow", "%s; register it with: kubernaut workflow push", why)
	}
	if !l.AllowUnregistered {
		return problem("unregistered-image", "%s, and image %s may not run without being registered (execution.allowUnregistered is off)", why, ref.ContainerImage)
	}
	return execution.Workflow{Resolved: &v1alpha1.ResolvedWorkflow{
		Image: pinned(ref.ContainerImage, ref.ContainerDigest), Engine: defaultEngine, ServiceAccountName: v1alpha1.DefaultServiceAccount,
	}}
}

const defaultEngine = "tekton"

func resolved(entry datastorage.Workflow) *v1alpha1.ResolvedWorkflow {
	w := &v1alpha1.ResolvedWorkflow{
		Image: pinned(entry.ContainerImage, entry.ContainerDigest), Engine: entry.ExecutionEngine,
		ServiceAccountName: entry.ServiceAccountName, Registered: true,
		Secrets: entry.Secrets, ConfigMaps: entry.ConfigMaps,
	}
	if w.Engine == "" {
		w.Engine = defaultEngine
	}
	if w.ServiceAccountName == "" {
		w.ServiceAccountName = v1alpha1.DefaultServiceAccount
	}
	for _, p := range entry.Parameters {
		d := v1alpha1.DeclaredParameter{
			Name: p.Name, Type: string(p.Type), Required: p.Required, Enum: p.Enum, Pattern: p.Pattern,
			Minimum: p.Minimum, Maximum: p.Maximum, Secret: p.Secret,
		}
		if !p.Secret {
			d.Default = p.Default
		}
		w.Parameters = append(w.Parameters, d)
	}
	return w
}

func (l *Library) now() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}

// recall is what was last said of a reference, and whether that still holds without
// asking.
func (l *Library) recall(ref v1alpha1.WorkflowRef) (w execution.Workflow, current bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.known[ref]
	return execution.Workflow{Resolved: a.workflow.DeepCopy(), Unavailable: a.unavailable}, ok && l.now().Before(a.until)
}

// remember keeps what a reference means, or that nobody says; one that may not run is
// forgotten.
func (l *Library) remember(ref v1alpha1.WorkflowRef, w execution.Workflow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.Problem != nil {
		delete(l.known, ref)
		return
	}
	full := len(l.known) >= maxKnown
	if full && w.Resolved == nil { // what was seen serves, and is worth more
		return
	}
	if l.known == nil || full {
		l.known = map[v1alpha1.WorkflowRef]answer{}
	}
	l.known[ref] = answer{w.Resolved.DeepCopy(), w.Unavailable, l.now().Add(orDefault(l.Trust, 5*time.Second))}
}
