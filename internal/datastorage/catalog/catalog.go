// Package catalog says what a version of a workflow is: which values it may have,
// what its id is, which of its versions is the higher one, and what it means that
// two are the same. It is pure.
package catalog

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// workflowSpace is the name space of the ids of workflows.
var workflowSpace = uuid.MustParse("b0b6c1d4-4d0f-5f5e-8f0e-51d1d5d6a9c3")

// ID names one version of a workflow, always the same way.
func ID(name, version string) uuid.UUID {
	return uuid.NewSHA1(workflowSpace, []byte(name+"/"+version))
}

// Hash is how content_hash is taken.
func Hash(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// Workflow makes the catalog's entry from what an author registers, with defaults
// filled in. The spec has passed Check.
func Workflow(spec api.WorkflowSpec) api.Workflow {
	w := api.Workflow{
		WorkflowID:         ID(spec.WorkflowName, spec.Version),
		WorkflowName:       spec.WorkflowName,
		Version:            spec.Version,
		Name:               spec.Name,
		Description:        spec.Description,
		Owner:              spec.Owner,
		Content:            spec.Content,
		ContentHash:        spec.ContentHash,
		Labels:             spec.Labels,
		CustomLabels:       spec.CustomLabels,
		Parameters:         make([]api.WorkflowParameter, 0, len(spec.Parameters)),
		ExecutionEngine:    string(cmp.Or(spec.ExecutionEngine, api.WorkflowSpecExecutionEngineTekton)),
		ContainerImage:     spec.ContainerImage,
		ContainerDigest:    spec.ContainerDigest,
		ServiceAccountName: spec.ServiceAccountName,
		Secrets:            spec.Secrets,
		ConfigMaps:         spec.ConfigMaps,
		Risk:               string(spec.Risk),
		Status:             cmp.Or(spec.Status, api.WorkflowStatusActive),
	}
	for _, p := range spec.Parameters {
		p.Type = cmp.Or(p.Type, api.WorkflowParameterTypeString)
		w.Parameters = append(w.Parameters, p)
	}
	return w
}

// Digest is the SHA-256 of everything in an entry that never changes: two entries
// with one digest are the same workflow. A member added to the contract later
// changes no digest of an entry that does not have it.
func Digest(w api.Workflow) ([sha256.Size]byte, error) {
	raw, err := json.Marshal(api.WorkflowSpec{
		WorkflowName: w.WorkflowName, Version: w.Version,
		Name: w.Name, Description: w.Description, Owner: w.Owner,
		Content: w.Content, ContentHash: w.ContentHash, Labels: w.Labels, CustomLabels: w.CustomLabels,
		Parameters: w.Parameters, ExecutionEngine: api.WorkflowSpecExecutionEngine(w.ExecutionEngine),
		ContainerImage: w.ContainerImage, ContainerDigest: w.ContainerDigest,
		ServiceAccountName: w.ServiceAccountName, Secrets: w.Secrets, ConfigMaps: w.ConfigMaps,
		Risk: api.WorkflowSpecRisk(w.Risk),
	})
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("writing workflow %s %s as JSON: %w", w.WorkflowName, w.Version, err)
	}
	value := jsontext.Value(raw)
	if err := value.Canonicalize(); err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("writing workflow %s %s as canonical JSON: %w", w.WorkflowName, w.Version, err)
	}
	return sha256.Sum256(value), nil
}
