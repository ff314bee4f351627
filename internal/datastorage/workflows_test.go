package datastorage_test

import (
	"fmt"
	"math"
	"net/http"
	"reflect"
	"strings"
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

// largeCatalog reads versions as large as they may be: each answer ends early and says
// so, and the client reads them all.
func largeCatalog(t *testing.T, w *world) {
	const number = 20
	for n := range number {
		want[api.Workflow](t, w.post(t, workflowsPath, workflow("large", fmt.Sprintf("1.%d.0", n), func(s *api.WorkflowSpec) {
			s.Content = strings.Repeat("x", 256<<10)
			s.ContentHash = catalog.Hash(s.Content)
		})), http.StatusCreated)
		want[api.Workflow](t, w.post(t, workflowsPath, workflow(fmt.Sprint("other-", n), "1.0.0", func(s *api.WorkflowSpec) {
			s.Content = strings.Repeat("x", 256<<10)
			s.ContentHash = catalog.Hash(s.Content)
		})), http.StatusCreated)
	}
	page := want[api.WorkflowPage](t, w.get(t, workflowsPath+"?limit=1000&workflow_name=large"), http.StatusOK)
	if p := page.Pagination; p.Limit != len(page.Workflows) || !p.HasMore || p.Total != number {
		t.Errorf("%d workflows with %+v", len(page.Workflows), p)
	}
	versions := want[api.WorkflowVersions](t, w.get(t, workflowsPath+"/by-name/large/versions"), http.StatusOK)
	if len(versions.Versions) >= number || !versions.HasMore {
		t.Errorf("%d of %d versions; more: %v", len(versions.Versions), number, versions.HasMore)
	}
	client := w.dial(t, w.handler)
	all, err := client.WorkflowVersions(t.Context(), "large")
	must(t, err)
	if len(all) != number || all[0].Version != "1.19.0" || all[number-1].Version != "1.0.0" {
		t.Errorf("the client reads %d versions", len(all))
	}
	top := 100
	found, err := client.SearchWorkflows(t.Context(), api.WorkflowSearch{TopK: &top, Filters: api.WorkflowFilters{
		SignalType: "OOMKilled", Severity: "critical", Component: "pod", Environment: "production", Priority: "P1",
	}})
	must(t, err)
	if len(found) != 16 || found[0].Workflow.Content == "" || len(found[0].Workflow.Parameters) != 1 {
		t.Errorf("%d matches; the first has %d bytes of content", len(found), len(found[0].Workflow.Content))
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

func catalogStatus(t *testing.T, w *world) {
	old := want[api.Workflow](t, w.post(t, workflowsPath, workflow("increase-memory", "1.9.0")), http.StatusCreated)
	latest := want[api.Workflow](t, w.post(t, workflowsPath, workflow("increase-memory", "1.10.0")), http.StatusCreated)
	patch := func(path string, body any) response {
		return w.send(t, w.handler, request{method: "PATCH", path: workflowsPath + path, body: body, wrong: true})
	}
	id := latest.WorkflowID.String()
	got := want[api.Workflow](t, patch("/"+id+"/disable", `{"reason":"breaks web"}`), http.StatusOK)
	if got.Status != api.WorkflowStatusDisabled || got.StatusReason != "breaks web" || got.IsLatestVersion {
		t.Errorf("disabled: %+v", got)
	}
	heir := want[api.Workflow](t, w.get(t, workflowsPath+"/"+old.WorkflowID.String()), http.StatusOK)
	if !heir.IsLatestVersion {
		t.Error("the version before is not the latest although the latest is disabled")
	}
	got = want[api.Workflow](t, patch("/"+id, `{"status":"active"}`), http.StatusOK)
	if got.Status != api.WorkflowStatusActive || got.StatusReason != "" || !got.IsLatestVersion {
		t.Errorf("active again: %+v", got)
	}
	p := wantProblem(t, patch("/"+id, `{"status":"active","description":"other"}`), http.StatusBadRequest, "description")
	if !strings.Contains(p.Errors[0].Message, "never changes") {
		t.Errorf("the message is %q", p.Errors[0].Message)
	}
	for i := range reflect.TypeFor[api.WorkflowSpec]().NumField() {
		member, _, _ := strings.Cut(reflect.TypeFor[api.WorkflowSpec]().Field(i).Tag.Get("json"), ",")
		if member == "status" {
			continue
		}
		p := wantProblem(t, patch("/"+id, `{"status":"active","`+member+`":null}`), http.StatusBadRequest, member)
		if !strings.Contains(p.Errors[0].Message, "never changes") {
			t.Errorf("%s: the message is %q", member, p.Errors[0].Message)
		}
	}
	wantProblem(t, patch("/"+id, `{}`), http.StatusBadRequest, "status")
	wantProblem(t, patch("/"+id+"/disable", `{}`), http.StatusBadRequest, "reason")
	wantProblem(t, patch("/"+catalog.ID("no", "1.0.0").String(), `{"status":"active"}`), http.StatusNotFound)
}

func catalogSearch(t *testing.T, w *world) {
	for _, s := range []api.WorkflowSpec{
		workflow("any-component", "1.0.0"),
		workflow("for-deployments", "1.0.0", func(s *api.WorkflowSpec) { s.Labels.Component = "deployment" }),
		workflow("for-pods", "1.0.0", func(s *api.WorkflowSpec) { s.Labels.Component = "pod" }),
		workflow("of-team-a", "1.0.0", func(s *api.WorkflowSpec) { s.CustomLabels = api.CustomLabels{"team": {"a", "b"}} }),
		workflow("of-team-a", "2.0.0-rc.1", func(s *api.WorkflowSpec) { s.Labels.Component = "deployment" }),
		workflow("elsewhere", "1.0.0", func(s *api.WorkflowSpec) { s.Labels.Environment = "staging" }),
		workflow("gone", "1.0.0", func(s *api.WorkflowSpec) { s.Status = api.WorkflowStatusDisabled }),
	} {
		want[api.Workflow](t, w.post(t, workflowsPath, s), http.StatusCreated)
	}
	labels := `"signal_type":"OOMKilled","severity":"critical","component":"deployment","environment":"production","priority":"P1"`
	for _, c := range []struct{ why, body, want string }{
		{"by labels", `{"filters":{` + labels + `}}`, "[for-deployments 1.0 any-component 0.9 of-team-a 0.9]"},
		{"by custom labels", `{"filters":{` + labels + `,"custom_labels":{"team":["a","c"]}}}`, "[for-deployments 0.8 of-team-a 0.8 any-component 0.7]"},
		{"the best", `{"filters":{` + labels + `},"top_k":1}`, "[for-deployments 1.0]"},
		{"good enough", `{"filters":{` + labels + `},"min_score":0.95}`, "[for-deployments 1.0]"},
		{"nothing", `{"filters":{` + strings.Replace(labels, "OOMKilled", "Evicted", 1) + `}}`, "[]"},
	} {
		t.Run(c.why, func(t *testing.T) {
			res := w.post(t, workflowsPath+"/search", c.body)
			got := []string{}
			for _, m := range want[api.WorkflowMatches](t, res, http.StatusOK).Workflows {
				got = append(got, fmt.Sprintf("%s %.1f", m.Workflow.WorkflowName, m.Score))
				if sum := m.ScoreParts.Labels + m.ScoreParts.Component + m.ScoreParts.CustomLabels; math.Abs(sum-m.Score) > 1e-9 {
					t.Errorf("%s: the parts of the score sum up to %v, not %v", m.Workflow.WorkflowName, sum, m.Score)
				}
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("found %v, want %s", got, c.want)
			}
		})
	}
	search := workflowsPath + "/search"
	wantProblem(t, w.wrong(t, search, `{"filters":{}}`), 400, "filters.signal_type", "filters.severity", "filters.component", "filters.environment", "filters.priority")
	wantProblem(t, w.wrong(t, search, `{"filters":{`+labels+`},"top_k":0}`), 400, "top_k")
	wantProblem(t, w.wrong(t, search, `{"filters":{`+labels+`},"top_k":101,"min_score":2}`), 400, "top_k", "min_score")
}
