package datastorage_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
)

const workflowsPath = "/api/v1/workflows"

func workflow(name, version string, change ...func(*api.WorkflowSpec)) api.WorkflowSpec {
	content := "name: " + name + "\nversion: " + version + "\n"
	s := api.WorkflowSpec{
		WorkflowName: name, Version: version, Name: "Increase memory", Description: "Raises the memory limit of a Deployment",
		Content: content, ContentHash: catalog.Hash(content), ContainerImage: "registry/" + name + ":" + version,
		ContainerDigest: "sha256:" + catalog.Hash(name), Secrets: []string{"token"},
		Labels:     api.WorkflowLabels{SignalType: "OOMKilled", Severity: "critical", Component: "*", Environment: "production", Priority: "P1"},
		Parameters: []api.WorkflowParameter{{Name: "FACTOR", Type: api.WorkflowParameterTypeInteger, Required: true}},
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

func catalogOnce(t *testing.T, w *world) {
	spec := workflow("increase-memory", "1.9.0")
	first := want[api.Workflow](t, w.post(t, workflowsPath, spec), http.StatusCreated)
	if !first.IsLatestVersion || first.Status != api.WorkflowStatusActive || first.ExecutionEngine != "tekton" {
		t.Errorf("registered as %+v", first)
	}
	again := want[api.Workflow](t, w.post(t, workflowsPath, spec), http.StatusOK)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("registered again (-first +second):\n%s", diff)
	}
	other := workflow("increase-memory", "1.9.0", func(s *api.WorkflowSpec) { s.ContainerImage = "registry/evil:1" })
	wantProblem(t, w.post(t, workflowsPath, other), http.StatusConflict)
	for _, s := range []api.WorkflowSpec{workflow("increase-memory", "1.10.0"), workflow("drain-node", "1.0.0")} {
		want[api.Workflow](t, w.post(t, workflowsPath, s), http.StatusCreated)
	}

	first.IsLatestVersion = false
	read := want[api.Workflow](t, w.get(t, workflowsPath+"/"+first.WorkflowID.String()), http.StatusOK)
	if diff := cmp.Diff(first, read); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
	for query, wanted := range map[string][]string{
		"":             {"drain-node 1.0.0", "increase-memory 1.10.0", "increase-memory 1.9.0"},
		"?latest=true": {"drain-node 1.0.0", "increase-memory 1.10.0"},
		"?workflow_name=increase-memory&version=1.9.0": {"increase-memory 1.9.0"},
		"?status=disabled":  nil,
		"?limit=1&offset=1": {"increase-memory 1.10.0"},
	} {
		page := want[api.WorkflowPage](t, w.get(t, workflowsPath+query), http.StatusOK)
		if diff := cmp.Diff(wanted, names(page.Workflows)); diff != "" {
			t.Errorf("list %s (-want +got):\n%s", query, diff)
		}
		if more := page.Pagination.HasMore; more != (query == "?limit=1&offset=1") {
			t.Errorf("list %s: has_more is %v", query, more)
		}
	}
	versions := want[api.WorkflowVersions](t, w.get(t, workflowsPath+"/by-name/increase-memory/versions"), http.StatusOK)
	if diff := cmp.Diff([]string{"increase-memory 1.10.0", "increase-memory 1.9.0"}, names(versions.Versions)); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
}

func names(list []api.Workflow) (all []string) {
	for _, w := range list {
		all = append(all, w.WorkflowName+" "+w.Version)
	}
	return all
}

func catalogProblems(t *testing.T, w *world) {
	wrong := workflow("increase-memory", "latest", func(s *api.WorkflowSpec) { s.ContentHash = catalog.Hash("x") })
	wantProblem(t, w.wrong(t, workflowsPath, wrong), http.StatusBadRequest, "version", "content_hash")
	wantProblem(t, w.wrong(t, workflowsPath, `{"labels":{"severity":5}}`), http.StatusBadRequest, "labels.severity")
	wantProblem(t, w.wrong(t, workflowsPath, `{"parameters":[{},{"kind":1}]}`), http.StatusBadRequest, "parameters[1].kind")
	wantProblem(t, w.get(t, workflowsPath+"/"+catalog.ID("no", "1.0.0").String()), http.StatusNotFound)
	wantProblem(t, w.get(t, workflowsPath+"/by-name/no/versions"), http.StatusNotFound)
	for path, field := range map[string]string{"/5": "workflow_id", "?status=gone": "status", "?limit=0": "limit", "?name=x": "name"} {
		res := w.send(t, w.handler, request{method: "GET", path: workflowsPath + path, wrong: true})
		wantProblem(t, res, http.StatusBadRequest, field)
	}
}
