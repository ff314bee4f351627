package postgres_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/mod/semver"
	"pgregory.net/rapid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
)

func spec(version string, change ...func(*api.WorkflowSpec)) api.Workflow {
	content := "name: increase-memory\nversion: " + version + "\n"
	s := api.WorkflowSpec{
		WorkflowName: "increase-memory", Version: version, Name: "Increase memory", Description: "Raises the limit",
		Content: content, ContentHash: catalog.Hash(content), ContainerImage: "registry/increase-memory:" + version,
		Labels: api.WorkflowLabels{SignalType: "OOMKilled", Severity: "critical", Component: "*", Environment: "production", Priority: "P1"},
	}
	for _, c := range change {
		c(&s)
	}
	w := catalog.Workflow(s)
	w.CreatedBy, w.UpdatedBy = "alice", "alice"
	return w
}

func workflowKeptOnce(t *testing.T, f fixture) {
	limit := 4096.0
	preset := "2"
	want := spec("1.0.0", func(s *api.WorkflowSpec) {
		s.Owner, s.Risk, s.ServiceAccountName = "team-a", api.WorkflowSpecRiskLow, "memory-writer"
		s.ContainerDigest = "sha256:" + catalog.Hash("image")
		s.Secrets, s.ConfigMaps = []string{"token"}, []string{"settings"}
		s.CustomLabels = api.CustomLabels{"team": {"a", "b"}}
		s.Parameters = []api.WorkflowParameter{{Name: "FACTOR", Type: api.WorkflowParameterTypeInteger, Default: &preset, Maximum: &limit}}
	})
	for i, fresh := range []bool{true, false} {
		got, created, err := f.Create(t.Context(), want)
		must(t, err)
		if created != fresh {
			t.Errorf("attempt %d: created is %v", i, created)
		}
		want.IsLatestVersion = true
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(api.Workflow{}, "CreatedAt", "UpdatedAt")); diff != "" {
			t.Errorf("attempt %d (-want +got):\n%s", i, diff)
		}
	}
	got, err := f.Get(t.Context(), want.WorkflowID)
	must(t, err)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(api.Workflow{}, "CreatedAt", "UpdatedAt")); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
	other := want
	other.ContainerImage = "registry/evil:1"
	if _, _, err := f.Create(t.Context(), other); !errors.Is(err, datastorage.ErrExists) {
		t.Errorf("other content under the same version: %v, want ErrExists", err)
	}
	if _, err := f.Get(t.Context(), catalog.ID("increase-memory", "9.9.9")); !errors.Is(err, datastorage.ErrNotFound) {
		t.Errorf("a version that is not there: %v, want ErrNotFound", err)
	}
}

// latestVersion registers versions out of order.
func latestVersion(t *testing.T, f fixture) {
	for _, c := range []struct{ version, latest string }{
		{"1.0.0-rc.1", ""},
		{"1.9.0", "1.9.0"},
		{"1.10.0", "1.10.0"},
		{"1.0.1", "1.10.0"},
		{"2.0.0-rc.1", "1.10.0"},
		{"10.0.0", "10.0.0"},
	} {
		_, _, err := f.Create(t.Context(), spec(c.version))
		must(t, err)
		page, err := f.List(t.Context(), datastorage.WorkflowQuery{Name: "increase-memory", Latest: true, Limit: 10})
		must(t, err)
		got := ""
		for _, w := range page.Workflows {
			got += w.Version
		}
		if got != c.latest || page.Total != len(page.Workflows) {
			t.Errorf("after %s the latest is %q of %d, want %q", c.version, got, page.Total, c.latest)
		}
	}
	page, err := f.List(t.Context(), datastorage.WorkflowQuery{Limit: 4, Offset: 1})
	must(t, err)
	var got []string
	for _, w := range page.Workflows {
		got = append(got, w.Version)
	}
	if diff := cmp.Diff([]string{"2.0.0-rc.1", "1.10.0", "1.9.0", "1.0.1"}, got); diff != "" || page.Total != 6 {
		t.Errorf("total %d, versions from the second on (-want +got):\n%s", page.Total, diff)
	}
}

// latestOfAny registers any versions in any order, takes any of them out of use, and
// asks which is the latest: the highest that is active and no pre-release.
func latestOfAny(t *testing.T, f fixture) {
	names := 0
	version := rapid.StringMatching(`(0|1|2|9|10|11)\.(0|1|9|10)\.(0|2|10)(-(rc|1|10)(\.(2|11))?)?`)
	statuses := rapid.SampledFrom([]api.WorkflowStatus{"active", "active", "active", "disabled", "deprecated", "archived"})
	rapid.Check(t, func(rt *rapid.T) {
		names++
		name, want := fmt.Sprint("any-", names), ""
		for _, v := range rapid.SliceOfNDistinct(version, 1, 6, rapid.ID[string]).Draw(rt, "versions") {
			status := statuses.Draw(rt, "status")
			w, _, err := f.Create(t.Context(), spec(v, func(s *api.WorkflowSpec) { s.WorkflowName = name }))
			must(t, err)
			if status != api.WorkflowStatusActive {
				_, err := f.SetStatus(t.Context(), w.WorkflowID, datastorage.StatusChange{Status: status, Reason: "drawn"})
				must(t, err)
			}
			if status == api.WorkflowStatusActive && semver.Prerelease("v"+v) == "" && (want == "" || semver.Compare("v"+v, "v"+want) > 0) {
				want = v
			}
		}
		page, err := f.List(t.Context(), datastorage.WorkflowQuery{Name: name, Limit: 10})
		must(t, err)
		got := ""
		for i, w := range page.Workflows {
			if w.IsLatestVersion {
				got += w.Version
			}
			if i > 0 && semver.Compare("v"+page.Workflows[i-1].Version, "v"+w.Version) <= 0 {
				rt.Errorf("%s stands before %s", page.Workflows[i-1].Version, w.Version)
			}
		}
		if got != want {
			rt.Errorf("the latest is %q, want %q", got, want)
		}
	})
}
