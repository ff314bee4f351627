package datastorage

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
	"kubernaut.ai/kubernaut/internal/datastorage/descriptor"
)

// Bundles reads what workflows run, where it is kept.
type Bundles interface {
	// Inspect reads an artifact. The error is a *RegistryAwayError when that may succeed
	// later, and an *UnverifiedError when what is there is not what it should be.
	Inspect(ctx context.Context, a Artifact) (Inspected, error)
}

// Artifact names what a workflow runs.
type Artifact struct {
	Image    string
	Digest   string // "sha256:…"; empty: what the image's tag names now
	Pipeline bool   // it is a bundle with a Pipeline
}

// Inspected is what was found.
type Inspected struct {
	Digest     string
	Parameters []catalog.PipelineParameter // of the Pipeline
}

// RegistryAwayError says why a registry could not be asked.
type RegistryAwayError struct {
	Message string // for clients
	Err     error
}

func (e *RegistryAwayError) Error() string { return fmt.Sprintf("%s: %v", e.Message, e.Err) }

func (e *RegistryAwayError) Unwrap() error { return e.Err }

// UnverifiedError says why what a workflow runs is not what it should be.
type UnverifiedError struct{ Message string }

func (e *UnverifiedError) Error() string { return e.Message }

// Unverified makes an *UnverifiedError.
func Unverified(format string, args ...any) error {
	return &UnverifiedError{fmt.Sprintf(format, args...)}
}

// Verification is what becomes of a workflow that is not what it says.
type Verification string

// The modes.
const (
	Required Verification = "required" // it is refused
	Warn     Verification = "warn"     // it is registered, and the answer says what is wrong
	Off      Verification = "off"      // nobody looks
)

// verifier looks at what is registered: its descriptor and what it runs.
type verifier struct {
	mode    Verification
	bundles Bundles
}

// verify pins the digest of the entry, and returns what is wrong in the mode Warn.
func (v verifier) verify(ctx context.Context, spec api.WorkflowSpec, entry *api.Workflow) (warnings []string, err error) {
	if v.mode == "" || v.mode == Off {
		return nil, nil
	}
	found, err := v.inspect(ctx, spec, entry)
	away, unasked := errors.AsType[*RegistryAwayError](err)
	switch {
	case v.mode == Warn && unasked:
		warnings = append(warnings, "container_image: not looked at: "+away.Message)
	case unasked:
		return nil, &problem{
			status: http.StatusServiceUnavailable, kind: "registry-away", retryAfter: 5, cause: err,
			detail: away.Message + "; nothing was kept, send it again",
		}
	case err != nil:
		return nil, err
	case v.mode == Required && len(found) > 0:
		return nil, invalid("nothing was kept; the workflow is not what it says: correct the fields named and send it again", found[:min(len(found), maxFields)]...)
	}
	for _, p := range found {
		warnings = append(warnings, p.Field+": "+p.Message)
	}
	return warnings, nil
}

func (v verifier) inspect(ctx context.Context, spec api.WorkflowSpec, entry *api.Workflow) ([]api.FieldProblem, error) {
	found := described(spec)
	tekton := entry.ExecutionEngine == string(api.WorkflowSpecExecutionEngineTekton)
	inspected, err := v.bundles.Inspect(ctx, Artifact{entry.ContainerImage, entry.ContainerDigest, tekton})
	if unverified, ok := errors.AsType[*UnverifiedError](err); ok {
		return append(found, api.FieldProblem{Field: "container_image", Message: unverified.Message}), nil
	}
	if err != nil {
		return found, err
	}
	entry.ContainerDigest = inspected.Digest
	if tekton {
		for _, message := range catalog.Disagreements(entry.Parameters, inspected.Parameters) {
			found = append(found, api.FieldProblem{Field: "parameters", Message: message})
		}
	}
	return found, nil
}

// described says what is wrong with the descriptor in content, or where the entry
// says something else than it does.
func described(spec api.WorkflowSpec) []api.FieldProblem {
	d, err := descriptor.Read([]byte(spec.Content))
	if err == nil {
		return d.Disagreements(spec)
	}
	problems, _ := errors.AsType[descriptor.Problems](err)
	var found []api.FieldProblem
	for _, p := range problems {
		found = append(found, api.FieldProblem{Field: "content", Message: p.String()})
	}
	return found
}
