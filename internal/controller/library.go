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

// Library says what workflow references mean. A catalog entry never changes, so
// what was read once is kept: an outage of the catalog stops no workflow that was
// seen before.
type Library struct {
	Catalog           Catalog
	AllowUnregistered bool
	// Patience is how long one question to the catalog may take. Default 3s.
	Patience time.Duration

	mu    sync.Mutex
	known map[v1alpha1.WorkflowRef]*v1alpha1.ResolvedWorkflow
}

// maxKnown bounds the memory for entries; beyond it they are read again.
const maxKnown = 4096

// Resolve says what a reference means, as far as it can be known now.
func (l *Library) Resolve(ctx context.Context, ref v1alpha1.WorkflowRef) execution.Workflow {
	if w := l.recall(ref); w != nil {
		return execution.Workflow{Resolved: w}
	}
	patience := l.Patience
	if patience == 0 {
		patience = 3 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	entry, err := l.Catalog.WorkflowVersion(ctx, ref.WorkflowID, ref.Version)
	switch {
	case errors.Is(err, datastorage.ErrNotFound), errors.Is(err, datastorage.ErrInvalid):
		return l.unregistered(ref, fmt.Sprintf("the catalog has no workflow %s@%s", ref.WorkflowID, ref.Version))
	case err != nil:
		return execution.Workflow{Unavailable: fmt.Sprintf("the catalog cannot be asked about %s@%s: %s", ref.WorkflowID, ref.Version, firstLine(err))}
	case entry.Status == datastorage.WorkflowStatusDisabled || entry.Status == datastorage.WorkflowStatusArchived:
		return problem("disabled-workflow", "workflow %s@%s is %s in the catalog", ref.WorkflowID, ref.Version, entry.Status)
	case !sameImage(ref, entry):
		return l.unregistered(ref, fmt.Sprintf("the catalog has workflow %s@%s with image %s", ref.WorkflowID, ref.Version, pinned(entry.ContainerImage, entry.ContainerDigest)))
	}
	w := resolved(entry)
	l.remember(ref, w)
	return execution.Workflow{Resolved: w}
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

func (l *Library) recall(ref v1alpha1.WorkflowRef) *v1alpha1.ResolvedWorkflow {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known[ref].DeepCopy()
}

func (l *Library) remember(ref v1alpha1.WorkflowRef, w *v1alpha1.ResolvedWorkflow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil || len(l.known) >= maxKnown {
		l.known = map[v1alpha1.WorkflowRef]*v1alpha1.ResolvedWorkflow{}
	}
	l.known[ref] = w.DeepCopy()
}
