// Package descriptor reads workflow.yaml, in which an author says what a workflow
// is. It is pure.
//
//	text ──► values with their lines ──► the published schema ──► the rules of the catalog ──► Descriptor
//
// What is wrong is told all at once, each thing with its line and its field.
package descriptor

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
)

// File is what the file is called.
const File = "workflow.yaml"

// Descriptor is the content of workflow.yaml. api/datastorage/v1/workflow.schema.json
// says what each field means.
type Descriptor struct {
	Name         string                  `json:"name"`
	Version      string                  `json:"version"`
	Title        string                  `json:"title"`
	Description  string                  `json:"description"`
	Owner        string                  `json:"owner"`
	Risk         string                  `json:"risk"`
	Engine       string                  `json:"engine"` // never empty
	Image        string                  `json:"image"`  // of the engine job
	Labels       api.WorkflowLabels      `json:"labels"`
	CustomLabels api.CustomLabels        `json:"customLabels"`
	Parameters   []api.WorkflowParameter `json:"parameters"`

	ServiceAccount string   `json:"serviceAccount"`
	Secrets        []string `json:"secrets"`
	ConfigMaps     []string `json:"configMaps"`

	content string // as it was read
}

// Problem is one thing that is wrong.
type Problem struct {
	Line    int    // counted from 1
	Field   string // as in parameters[2].default; empty: the whole
	Message string
}

func (p Problem) String() string {
	return fmt.Sprintf("%s:%d: %s", File, p.Line, strings.TrimSpace(p.Field+" "+p.Message))
}

// Problems is everything that is wrong with a descriptor, in the order of its lines.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// Read reads a descriptor. The error is Problems.
func Read(content []byte) (*Descriptor, error) {
	source, problems := parse(content)
	if len(problems) > 0 {
		return nil, problems
	}
	problems = source.shape()
	d, err := source.descriptor()
	if err == nil {
		d.content = string(content)
		problems = append(problems, source.rules(d)...)
	} else if len(problems) == 0 { // the schema lets through only what can be read
		problems = Problems{{Line: 1, Message: err.Error()}}
	}
	if len(problems) == 0 {
		return d, nil
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Field, b.Field))
	})
	return nil, slices.Compact(problems)
}

// descriptor reads the values into the struct. Defaults and enums stand there as
// they are written, whatever their type in YAML.
func (s *source) descriptor() (*Descriptor, error) {
	if root, ok := s.value.(map[string]any); ok {
		parameters, _ := root["parameters"].([]any)
		for i := range parameters {
			s.asWritten(parameters[i], fmt.Sprintf("parameters[%d]", i))
		}
	}
	raw, err := json.Marshal(s.readable(s.value, ""))
	if err != nil {
		return nil, err
	}
	d := &Descriptor{}
	if err := json.Unmarshal(raw, d); err != nil {
		return nil, err
	}
	d.Engine = cmp.Or(d.Engine, string(api.WorkflowSpecExecutionEngineTekton))
	return d, nil
}

// readable leaves away what the schema refused, so that the rest is looked at, too.
func (s *source) readable(v any, field string) any {
	if slices.ContainsFunc(s.refused, func(p Problem) bool { return p.Field == field && field != "" }) {
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		for name := range v {
			v[name] = s.readable(v[name], joined(field, name))
		}
	case []any:
		for i := range v {
			v[i] = s.readable(v[i], fmt.Sprintf("%s[%d]", field, i))
		}
	}
	return v
}

func (s *source) asWritten(parameter any, field string) {
	p, ok := parameter.(map[string]any)
	if !ok {
		return
	}
	if text, ok := s.texts[field+".default"]; ok {
		p["default"] = text
	}
	values, _ := p["enum"].([]any)
	for i := range values {
		if text, ok := s.texts[fmt.Sprintf("%s.enum[%d]", field, i)]; ok {
			values[i] = text
		}
	}
}

// ours says what the contract's members are called here.
var ours = map[string]string{
	"workflow_name": "name", "name": "title", "service_account_name": "serviceAccount", "custom_labels": "customLabels",
	"config_maps": "configMaps", "execution_engine": "engine", "container_image": "image",
}

// rules asks what the catalog would refuse, of fields that the schema let through.
func (s *source) rules(d *Descriptor) Problems {
	spec := d.Spec(cmp.Or(d.Image, "made when it is published"), "")
	var found Problems
	for _, p := range catalog.Check(&spec) {
		end := strings.IndexAny(p.Field+".", ".[")
		field := cmp.Or(ours[p.Field[:end]], p.Field[:end]) + p.Field[end:]
		if !s.refusedAlready(field) {
			found = append(found, Problem{s.line(field), field, p.Message})
		}
	}
	for i := range d.Parameters {
		if field := fmt.Sprintf("parameters[%d].name", i); d.Parameters[i].Name == v1alpha1.TargetParameter {
			found = append(found, Problem{s.line(field), field, "is Kubernaut's own: every run is told its target by it, undeclared"})
		}
	}
	return found
}

// refusedAlready says whether the schema refused a field, or what it stands in.
func (s *source) refusedAlready(field string) bool {
	for field != "" {
		if slices.ContainsFunc(s.refused, func(p Problem) bool { return p.Field == field }) {
			return true
		}
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
	}
	return false
}

// Spec is what the catalog is told of a workflow that runs image@digest.
func (d *Descriptor) Spec(image, digest string) api.WorkflowSpec {
	return api.WorkflowSpec{
		WorkflowName: d.Name, Version: d.Version, Name: d.Title, Description: d.Description,
		Owner: d.Owner, Risk: api.WorkflowSpecRisk(d.Risk),
		Content: d.content, ContentHash: catalog.Hash(d.content),
		Labels: d.Labels, CustomLabels: d.CustomLabels, Parameters: d.Parameters,
		ExecutionEngine: api.WorkflowSpecExecutionEngine(d.Engine), ContainerImage: image, ContainerDigest: digest,
		ServiceAccountName: d.ServiceAccount, Secrets: d.Secrets, ConfigMaps: d.ConfigMaps,
	}
}
