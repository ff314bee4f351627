package catalog

import (
	"strings"
	"testing"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

func TestDisagreements(t *testing.T) {
	one, two := "1", "2"
	declared := []api.WorkflowParameter{{Name: "NEEDED", Required: true}, {Name: "PRESET", Default: &one}, {Name: "FREE"}}
	for _, c := range []struct {
		why   string
		taken []PipelineParameter
		want  []string
	}{
		{"they agree", []PipelineParameter{{Name: "TARGET_RESOURCE"}, {Name: "NEEDED"}, {Name: "PRESET"}, {Name: "FREE", Default: &one}}, nil},
		{"both have a default", []PipelineParameter{{Name: "NEEDED", Default: &two, Type: "string"}, {Name: "PRESET", Default: &one}, {Name: "FREE", Default: &one}}, nil},
		{
			"one is not taken, one not declared", []PipelineParameter{{Name: "NEEDED"}, {Name: "PRESET"}, {Name: "OTHER"}},
			[]string{"parameter FREE is declared, but the Pipeline does not take it", "parameter OTHER is taken by the Pipeline, but not declared"},
		},
		{
			"defaults and types", []PipelineParameter{{Name: "NEEDED", Type: "array"}, {Name: "PRESET", Default: &two}, {Name: "FREE"}},
			[]string{
				"parameter NEEDED is of type array in the Pipeline; executions hand over texts",
				`parameter PRESET is declared with the default "1", the Pipeline has "2"`,
				"parameter FREE may be left out by an execution, but has a default neither where it is declared nor in the Pipeline",
			},
		},
	} {
		if got := strings.Join(Disagreements(declared, c.taken), "\n"); got != strings.Join(c.want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", c.why, got, strings.Join(c.want, "\n"))
		}
	}
	if got := Disagreements([]api.WorkflowParameter{{Name: "TARGET_RESOURCE"}}, nil); got != nil {
		t.Errorf("the target, which every run is given: %q", got)
	}
}
