package datastorage_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
	"kubernaut.ai/kubernaut/internal/datastorage/descriptor"
)

// shelf is where bundles are; package bundle proves how real registries are read.
type shelf struct {
	found datastorage.Inspected
	err   error
	asked int
}

func (s *shelf) Inspect(context.Context, datastorage.Artifact) (datastorage.Inspected, error) {
	s.asked++
	return s.found, s.err
}

// described is an entry that says what its descriptor says.
func described(t *testing.T, version string) api.WorkflowSpec {
	t.Helper()
	d, err := descriptor.Read([]byte(`name: heal
version: ` + version + `
title: Heal
description: Makes it whole.
labels: {signal_type: Ill, severity: high, component: deployment, environment: any, priority: P2}
parameters: [{name: FACTOR, type: integer, required: true}]
`))
	must(t, err)
	return d.Spec("registry.example/heal:"+version, "")
}

func catalogVerifies(t *testing.T, w *world) {
	digest := "sha256:" + catalog.Hash("bundle")
	bundles := &shelf{found: datastorage.Inspected{Digest: digest, Parameters: []catalog.PipelineParameter{{Name: "FACTOR"}}}}
	mode := func(m datastorage.Verification) {
		w.handler = w.serve(func(o *datastorage.Options) { o.Verify, o.Bundles = m, bundles })
	}
	mode(datastorage.Required)
	first := want[api.Workflow](t, w.post(t, workflowsPath, described(t, "1.0.0")), http.StatusCreated)
	if first.ContainerDigest != digest || len(first.Warnings) > 0 {
		t.Errorf("registered with digest %q and warnings %q, want it pinned to %s", first.ContainerDigest, first.Warnings, digest)
	}
	bundles.err = &datastorage.RegistryAwayError{Message: "registry registry.example cannot be asked", Err: errors.New("dial 10.0.0.1: refused")}
	want[api.Workflow](t, w.post(t, workflowsPath, described(t, "1.0.0")), http.StatusOK) // the same: nobody is asked
	if bundles.asked != 1 {
		t.Errorf("the registry was asked %d times for what is registered", bundles.asked)
	}
	moved := described(t, "1.0.0")
	moved.ContainerDigest = "sha256:" + catalog.Hash("other")
	wantProblem(t, w.post(t, workflowsPath, moved), http.StatusConflict)

	res := w.post(t, workflowsPath, described(t, "1.1.0"))
	p := wantProblem(t, res, http.StatusServiceUnavailable)
	if !strings.Contains(p.Detail, "registry.example cannot be asked") || strings.Contains(p.Detail, "10.0.0.1") || res.header.Get("Retry-After") == "" {
		t.Errorf("a registry that is away: %+v", p)
	}
	bundles.err = datastorage.Unverified("registry.example/heal:1.1.0 is absent")
	wantProblem(t, w.post(t, workflowsPath, described(t, "1.1.0")), http.StatusBadRequest, "container_image")
	bundles.err, bundles.found.Parameters = nil, []catalog.PipelineParameter{{Name: "OTHER"}}
	wantProblem(t, w.post(t, workflowsPath, described(t, "1.1.0")), http.StatusBadRequest, "parameters", "parameters")
	bundles.found.Parameters = []catalog.PipelineParameter{{Name: "FACTOR"}}
	wantProblem(t, w.post(t, workflowsPath, workflow("heal", "1.1.0")), http.StatusBadRequest, "content", "content", "content")
	drifted := described(t, "1.1.0")
	drifted.ServiceAccountName = "cluster-admin"
	wantProblem(t, w.post(t, workflowsPath, drifted), http.StatusBadRequest, "service_account_name")

	mode(datastorage.Warn)
	bundles.found.Parameters = nil
	warned := want[api.Workflow](t, w.post(t, workflowsPath, drifted), http.StatusCreated)
	if got := strings.Join(warned.Warnings, "; "); !strings.Contains(got, "service_account_name: ") || !strings.Contains(got, "parameters: parameter FACTOR") {
		t.Errorf("warnings: %q", got)
	}
	if read := want[api.Workflow](t, w.get(t, workflowsPath+"/"+warned.WorkflowID.String()), http.StatusOK); len(read.Warnings) > 0 {
		t.Errorf("the warnings are kept: %q", read.Warnings)
	}
	bundles.err = &datastorage.RegistryAwayError{Message: "registry registry.example cannot be asked", Err: errors.New("x")}
	warned = want[api.Workflow](t, w.post(t, workflowsPath, described(t, "1.2.0")), http.StatusCreated)
	if got := strings.Join(warned.Warnings, "; "); !strings.Contains(got, "not looked at: registry registry.example") {
		t.Errorf("warnings: %q", got)
	}
	jobs(t, w, bundles, mode)
}

// jobs have one image, and no Pipeline that could disagree.
func jobs(t *testing.T, w *world, bundles *shelf, mode func(datastorage.Verification)) {
	t.Helper()
	mode(datastorage.Required)
	bundles.err, bundles.found = nil, datastorage.Inspected{Digest: "sha256:" + catalog.Hash("image")}
	d, err := descriptor.Read([]byte(`name: scrub
version: 1.0.0
title: Scrub
description: Cleans up.
engine: job
image: registry.example/scrub:1
labels: {signal_type: Dirt, severity: low, component: node, environment: any, priority: P4}
parameters: [{name: DEPTH}]
`))
	must(t, err)
	got := want[api.Workflow](t, w.post(t, workflowsPath, d.Spec(d.Image, "")), http.StatusCreated)
	if got.ExecutionEngine != "job" || got.ContainerDigest != bundles.found.Digest {
		t.Errorf("registered as %+v", got)
	}
	other := d.Spec("registry.example/other:1", "")
	other.Version, other.ExecutionEngine = "1.0.1", api.WorkflowSpecExecutionEngineTekton
	wantProblem(t, w.post(t, workflowsPath, other), http.StatusBadRequest, "version", "execution_engine", "parameters")
}
