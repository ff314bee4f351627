package catalog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/semver"
	"pgregory.net/rapid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

func TestVersionKeySortsAsVersionsDo(t *testing.T) {
	version := rapid.Custom(func(t *rapid.T) string {
		core := rapid.StringMatching(`(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]?)\.(0|[1-9][0-9]?)`).Draw(t, "core")
		pre := rapid.StringMatching(`(-(0|[1-9][0-9]?|[a-c-]{1,3}|[0-9]?[a-zA-Z][0-9]?)(\.(0|[1-9][0-9]?|[a-c-]{1,2}))*)?`).Draw(t, "pre")
		return core + pre
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := version.Draw(t, "a"), version.Draw(t, "b")
		if !ValidVersion(a) || !ValidVersion(b) {
			t.Fatalf("%s or %s is refused", a, b)
		}
		want, got := semver.Compare("v"+a, "v"+b), strings.Compare(VersionKey(a), VersionKey(b))
		if got != want {
			t.Errorf("%s and %s: %d, want %d (%s, %s)", a, b, got, want, VersionKey(a), VersionKey(b))
		}
	})
}

func TestValidVersion(t *testing.T) {
	for version, want := range map[string]bool{
		"1.10.0": true, "0.0.0": true, "2.0.0-rc.1": true, "1.0.0-a-b.c.1.0": true, "1.0.0--": true,
		"1": false, "1.2": false, "v1.2.3": false, "1.2.3+build": false, "01.2.3": false, "1.2.3-01": false,
		"1.2.3.4": false, "": false, "latest": false, "1.2.3-": false, "1.2-3.4": false,
	} {
		if got := ValidVersion(version); got != want {
			t.Errorf("%q: valid is %v, want %v", version, got, want)
		}
	}
}

func valid() api.WorkflowSpec {
	return api.WorkflowSpec{
		WorkflowName: "increase-memory", Version: "1.0.0", Name: "Increase memory", Description: "Raises the limit",
		Content: "name: x\n", ContentHash: Hash("name: x\n"), ContainerImage: "registry/increase-memory:1.0.0",
		Labels: api.WorkflowLabels{SignalType: "OOMKilled", Severity: "critical", Component: "*", Environment: "production", Priority: "P1"},
	}
}

func TestCheck(t *testing.T) {
	low, high, text := 2.0, 1.0, "x"
	for _, c := range []struct {
		why    string
		change func(*api.WorkflowSpec)
		want   []string
	}{
		{why: "as it should be", change: func(*api.WorkflowSpec) {}},
		{
			why:    "nothing given",
			change: func(s *api.WorkflowSpec) { *s = api.WorkflowSpec{} },
			want: []string{
				"workflow_name", "version", "name", "description", "content", "container_image", "labels.signal_type",
				"labels.severity", "labels.component", "labels.environment", "labels.priority", "content_hash",
			},
		},
		{why: "a name with a capital", change: func(s *api.WorkflowSpec) { s.WorkflowName = "Increase" }, want: []string{"workflow_name"}},
		{why: "not a version", change: func(s *api.WorkflowSpec) { s.Version = "latest" }, want: []string{"version"}},
		{why: "content changed under way", change: func(s *api.WorkflowSpec) { s.Content += " " }, want: []string{"content_hash"}},
		{why: "a digest cut short", change: func(s *api.WorkflowSpec) { s.ContainerDigest = "sha256:ab" }, want: []string{"container_digest"}},
		{why: "NUL", change: func(s *api.WorkflowSpec) { s.Owner = "\x00" }, want: []string{"owner"}},
		{
			why:    "choices that are none",
			change: func(s *api.WorkflowSpec) { s.ExecutionEngine, s.Status, s.Risk = "argo", "gone", "huge" },
			want:   []string{"execution_engine", "status", "risk"},
		},
		{why: "a secret without a name", change: func(s *api.WorkflowSpec) { s.Secrets = []string{"a", ""} }, want: []string{"secrets[1]"}},
		{
			why:    "an empty custom label",
			change: func(s *api.WorkflowSpec) { s.CustomLabels = api.CustomLabels{"team": {"a", ""}} },
			want:   []string{"custom_labels.team[1]"},
		},
		{
			why: "parameters that cannot be",
			change: func(s *api.WorkflowSpec) {
				s.Parameters = []api.WorkflowParameter{
					{Name: "lower"},
					{Name: "TWICE"},
					{Name: "TWICE", Type: "list"},
					{Name: "RANGE", Minimum: &low, Maximum: &high},
					{Name: "PATTERN", Pattern: "("},
					{Name: "NUMBER", Type: api.WorkflowParameterTypeNumber, Default: &text},
					{Name: "SECRET", Secret: true, Default: &text},
				}
			},
			want: []string{
				"parameters[0].name", "parameters[2].name", "parameters[2].type", "parameters[3].minimum",
				"parameters[4].pattern", "parameters[5].default", "parameters[6].default",
			},
		},
	} {
		t.Run(c.why, func(t *testing.T) {
			s := valid()
			c.change(&s)
			var got []string
			for _, p := range Check(&s) {
				got = append(got, p.Field)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("fields with problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestObjection(t *testing.T) {
	one, ten := 1.0, 10.0
	integer := api.WorkflowParameter{Type: api.WorkflowParameterTypeInteger, Minimum: &one, Maximum: &ten}
	word := api.WorkflowParameter{Type: api.WorkflowParameterTypeString, Pattern: "[a-z]+", Enum: []string{"abc", "1"}}
	for _, c := range []struct {
		declared api.WorkflowParameter
		value    string
		want     string
	}{
		{integer, "5", ""},
		{integer, "5.0", "is not of type integer"},
		{integer, "0", "is below the minimum 1"},
		{integer, "11", "is above the maximum 10"},
		{word, "abc", ""},
		{word, "1", "does not match [a-z]+"},
		{word, "xyz", "is not one of: abc, 1"},
		{api.WorkflowParameter{Type: api.WorkflowParameterTypeBoolean}, "yes", "is not true or false"},
		{api.WorkflowParameter{}, strings.Repeat("x", 8193), "is longer than 8192 characters or contains U+0000"},
	} {
		if got := Objection(&c.declared, c.value); got != c.want {
			t.Errorf("%q: %q, want %q", c.value, got, c.want)
		}
	}
}

func TestDigestIsOfWhatNeverChanges(t *testing.T) {
	digest := func(change func(*api.Workflow)) string {
		w := Workflow(valid())
		change(&w)
		d, err := Digest(w)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", d)
	}
	same := digest(func(*api.Workflow) {})
	if got := digest(func(w *api.Workflow) { w.Status, w.StatusReason, w.CreatedBy = "disabled", "x", "bob" }); got != same {
		t.Error("the status, a reason or an author changes the digest")
	}
	if got := digest(func(w *api.Workflow) { w.Secrets, w.CustomLabels = []string{}, api.CustomLabels{} }); got != same {
		t.Error("an empty list changes the digest")
	}
	if got := digest(func(w *api.Workflow) { w.ServiceAccountName = "root" }); got == same {
		t.Error("another service account does not change the digest")
	}
}
