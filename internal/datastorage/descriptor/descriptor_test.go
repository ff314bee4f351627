package descriptor

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
)

const good = `# what it is
name: scale-up
version: 1.2.0
title: Scale up
description: Adds replicas.
risk: low
labels: {signal_type: Load, severity: high, component: deployment, environment: any, priority: P2}
parameters:
  - name: REPLICAS
    type: integer
    default: 3
    minimum: 1
  - name: MODE
    required: true
    enum: [fast, 2]
customLabels: {team: [a, b]}
secrets: [token]
`

func TestRead(t *testing.T) {
	d, err := Read([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	one, three := 1.0, "3"
	want := api.WorkflowSpec{
		WorkflowName: "scale-up", Version: "1.2.0", Name: "Scale up", Description: "Adds replicas.", Risk: api.WorkflowSpecRiskLow,
		Content: good, ContentHash: catalog.Hash(good), ContainerImage: "registry/scale-up:1", ExecutionEngine: api.WorkflowSpecExecutionEngineTekton,
		Labels:       api.WorkflowLabels{SignalType: "Load", Severity: "high", Component: "deployment", Environment: "any", Priority: "P2"},
		CustomLabels: api.CustomLabels{"team": {"a", "b"}}, Secrets: []string{"token"},
		Parameters: []api.WorkflowParameter{
			{Name: "REPLICAS", Type: api.WorkflowParameterTypeInteger, Default: &three, Minimum: &one},
			{Name: "MODE", Required: true, Enum: []string{"fast", "2"}}, // as it is written
		},
	}
	if diff := cmp.Diff(want, d.Spec("registry/scale-up:1", "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// minimal is a descriptor in which lines can be changed.
func minimal(change ...string) string {
	lines := strings.Split("name: a\nversion: 1.0.0\ntitle: A\ndescription: B\nlabels: {signal_type: a, severity: b, component: c, environment: d, priority: e}", "\n")
	return strings.Join(append(lines, change...), "\n") + "\n"
}

func TestWhatIsWrongIsToldWithItsLineAndField(t *testing.T) {
	for _, c := range []struct{ why, text, want string }{
		{"nothing wrong", minimal(), ""},
		{"empty", "", "1: it is empty"},
		{"no YAML", "name: a\n  version: [", "2: is not YAML: mapping values are not allowed in this context"},
		{"a list", "- a\n", "1: must be of type object"},
		{"nothing given", "{}", "1: description is missing\n1: labels is missing\n1: name is missing\n1: title is missing\n1: version is missing"},
		{"two documents", minimal() + "---\nname: b\n", "6: a second document begins here; a workflow is one"},
		{"a key twice", minimal("risk: low", "owner: x", "risk: high"), "8: risk stands in line 6 already"},
		{"an alias", minimal("owner: &a x", "risk: *a"), "7: risk is an alias; write the value itself"},
		{
			"a typo", minimal("params: []"),
			"6: params is not known; known are: configMaps, customLabels, description, engine, image, labels, name, owner, parameters, risk, secrets, serviceAccount, title, version",
		},
		{"a number for a text", strings.Replace(minimal(), "1.0.0", "1.0", 1), "2: version must be of type string: write it in quotes, \"1.0\""},
		{"half a version", strings.Replace(minimal(), "1.0.0", `"1.0"`, 1), `2: version does not match ^(0|`},
		{"a choice that is none", minimal("risk: huge"), "6: risk must be one of low medium high"},
		{"a text for a list", minimal("secrets: token"), "6: secrets must be of type array"},
		{"an empty name", minimal("secrets:", "  - a", "  - ''"), "8: secrets[1] is empty"},
		{"too long", minimal("owner: " + strings.Repeat("x", 256)), "6: owner is longer than 255 characters"},
		{"labels of one's own", strings.Replace(minimal(), "priority: e", "prio: e", 1), "5: labels.prio is not known; known are: component, environment, priority, severity, signal_type\n5: labels.priority is missing"},
		{
			"parameters that cannot be",
			minimal("parameters:", "  - name: lower", "  - name: TWICE", "  - name: TWICE", "  - name: N", "    type: integer", "    default: x", "  - name: P", "    pattern: '('", "  - name: TARGET_RESOURCE"),
			"7: parameters[0].name does not match ^[A-Z][A-Z0-9_]*$\n" +
				"9: parameters[2].name TWICE is declared twice\n" +
				"12: parameters[3].default is not of type integer\n" +
				"14: parameters[4].pattern is not a regular expression (RE2) of at most 1000 characters\n" +
				"15: parameters[5].name is Kubernaut's own: every run is told its target by it, undeclared",
		},
		{"a secret with a default", minimal("parameters: [{name: A, secret: true, default: x}]"), "6: parameters[0].default is given for a secret: a secret has none"},
		{"a job", minimal("engine: job", "image: example.com/tool:1"), ""},
		{"a job without an image", minimal("engine: job"), "1: image is missing: the engine job runs an image"},
		{"an image without a job", minimal("image: example.com/tool:1"), "6: image is only for the engine job; tekton runs the Pipeline in pipeline.yaml"},
		{"no number", minimal("parameters: [{name: A, type: number, minimum: .nan}]"), "6: parameters[0].minimum must be of type number"},
		{"too deep", minimal("owner: " + strings.Repeat("[", 20) + strings.Repeat("]", 20)), "6: owner[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0] is nested too deeply"},
	} {
		t.Run(c.why, func(t *testing.T) {
			_, err := Read([]byte(c.text))
			got := ""
			if err != nil {
				got = strings.ReplaceAll(err.Error(), File+":", "")
			}
			if got != c.want && (c.want == "" || !strings.HasPrefix(got, c.want)) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestAnEntryThatSaysSomethingElseIsToldByItsFields(t *testing.T) {
	d, err := Read([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	for why, c := range map[string]struct {
		change func(*api.WorkflowSpec)
		want   string
	}{
		"the same":             {func(*api.WorkflowSpec) {}, ""},
		"a default filled in":  {func(s *api.WorkflowSpec) { s.Parameters[1].Type = "string"; s.ConfigMaps = []string{} }, ""},
		"another image":        {func(s *api.WorkflowSpec) { s.ContainerImage, s.ContainerDigest = "other", "sha256:x" }, ""},
		"another name":         {func(s *api.WorkflowSpec) { s.WorkflowName = "other" }, "workflow_name"},
		"another account":      {func(s *api.WorkflowSpec) { s.ServiceAccountName = "root" }, "service_account_name"},
		"more than it may use": {func(s *api.WorkflowSpec) { s.Secrets = []string{"token", "admin"} }, "secrets"},
		"without a parameter":  {func(s *api.WorkflowSpec) { s.Parameters = s.Parameters[:1] }, "parameters"},
		"other labels":         {func(s *api.WorkflowSpec) { s.Labels.Component = "*"; s.CustomLabels = nil }, "labels.component custom_labels"},
		"another engine":       {func(s *api.WorkflowSpec) { s.ExecutionEngine = "job" }, "execution_engine"},
	} {
		spec := d.Spec("registry/scale-up:1", "")
		spec.Parameters = append([]api.WorkflowParameter{}, spec.Parameters...)
		c.change(&spec)
		var got []string
		for _, p := range d.Disagreements(spec) {
			got = append(got, p.Field)
		}
		if fields := strings.Join(got, " "); fields != c.want {
			t.Errorf("%s: told are %q, want %q", why, fields, c.want)
		}
	}
}

// TestTheSchemaAndTheCatalogHaveOneRule: what one takes the other takes, too.
func TestTheSchemaAndTheCatalogHaveOneRule(t *testing.T) {
	var schema struct {
		Properties map[string]struct {
			MaxLength  int
			Pattern    string
			Properties map[string]struct{ MaxLength int }
		}
	}
	if err := json.Unmarshal(api.WorkflowSchema, &schema); err != nil {
		t.Fatal(err)
	}
	for _, f := range catalog.Fields {
		name, label, _ := strings.Cut(f.Name, ".")
		if name == "content" {
			continue
		}
		if own, ok := ours[name]; ok {
			name = own
		}
		limit := schema.Properties[name].MaxLength
		if label != "" {
			limit = schema.Properties[name].Properties[label].MaxLength
		}
		if limit != f.Max {
			t.Errorf("%s: %d characters in the schema, %d in the catalog", f.Name, limit, f.Max)
		}
	}
	pattern := regexp.MustCompile(schema.Properties["version"].Pattern)
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.StringMatching(`v?[0-9]{1,2}(\.[0-9]{1,2}){0,3}(-[0-9a-c.-]{0,5})?(\+[a-b]?)?`).Draw(t, "version")
		if schema, rule := pattern.MatchString(version), catalog.ValidVersion(version); schema != rule {
			t.Fatalf("%s: the schema takes it: %v; the catalog: %v", version, schema, rule)
		}
	})
}

// yamlBreak is what ends a line of YAML, and is counted where a problem stands.
var yamlBreak = regexp.MustCompile("\r\n|[\r\n\u0085\u2028\u2029]")

func FuzzRead(f *testing.F) {
	for _, seed := range []string{good, minimal(), "", "{}", "a: &a [*a]", "? [x]\n: y", "<<: {a: b}", "name: !!binary aGk=", "\xff", "parameters: [{default: {}, enum: 5}]", "labels: 2020-01-01"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		d, err := Read(content)
		if err == nil {
			spec := d.Spec("image", "")
			if problems := catalog.Check(&spec); len(problems) > 0 {
				t.Errorf("read, but the catalog refuses it: %v", problems)
			}
			return
		}
		problems, ok := errors.AsType[Problems](err)
		if !ok || len(problems) == 0 {
			t.Fatalf("the error is %v", err)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Line > len(yamlBreak.FindAll(content, -1))+2 || p.Message == "" {
				t.Errorf("a problem that cannot be found: %s", fmt.Sprintf("%+v", p))
			}
		}
	})
}
