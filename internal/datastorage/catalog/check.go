package catalog

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

var (
	workflowName  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)
	contentHash   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	imageDigest   = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	parameterName = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)
)

// Field is the rule for one member of a workflow that holds text.
type Field struct {
	Name     string // in JSON and of the column; a label has its parent before it
	Max      int    // characters (Unicode code points)
	Required bool
	Pattern  *regexp.Regexp // nil: any text
	Get      func(*api.WorkflowSpec) string
}

// Fields are the rules for the members that hold text. The HTTP contract and the
// columns of the database carry the same numbers, and a test compares them.
var Fields = []Field{
	{Name: "workflow_name", Max: 253, Required: true, Pattern: workflowName, Get: func(s *api.WorkflowSpec) string { return s.WorkflowName }},
	{Name: "version", Max: 50, Required: true, Get: func(s *api.WorkflowSpec) string { return s.Version }},
	{Name: "name", Max: 255, Required: true, Get: func(s *api.WorkflowSpec) string { return s.Name }},
	{Name: "description", Max: 4096, Required: true, Get: func(s *api.WorkflowSpec) string { return s.Description }},
	{Name: "owner", Max: 255, Get: func(s *api.WorkflowSpec) string { return s.Owner }},
	{Name: "content", Max: 262144, Required: true, Get: func(s *api.WorkflowSpec) string { return s.Content }},
	{Name: "container_image", Max: 512, Required: true, Get: func(s *api.WorkflowSpec) string { return s.ContainerImage }},
	{Name: "service_account_name", Max: 253, Get: func(s *api.WorkflowSpec) string { return s.ServiceAccountName }},
	{Name: "labels.signal_type", Max: 100, Required: true, Get: func(s *api.WorkflowSpec) string { return s.Labels.SignalType }},
	{Name: "labels.severity", Max: 20, Required: true, Get: func(s *api.WorkflowSpec) string { return s.Labels.Severity }},
	{Name: "labels.component", Max: 100, Required: true, Get: func(s *api.WorkflowSpec) string { return s.Labels.Component }},
	{Name: "labels.environment", Max: 50, Required: true, Get: func(s *api.WorkflowSpec) string { return s.Labels.Environment }},
	{Name: "labels.priority", Max: 20, Required: true, Get: func(s *api.WorkflowSpec) string { return s.Labels.Priority }},
}

// Limits of lists.
const (
	maxParameters   = 64
	maxParameterRaw = 8192
	maxNames        = 32
	maxCustom       = 32
	maxEnum         = 100
)

// problems collects what is wrong.
type problems []api.FieldProblem

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, api.FieldProblem{Field: field, Message: fmt.Sprintf(format, args...)})
}

// text checks one text and says whether it may be looked at further.
func (p *problems) text(field, text string, limit int, required bool) bool {
	switch {
	case text == "" && required:
		p.add(field, "is required")
	case text == "":
	case !utf8.ValidString(text):
		p.add(field, "is not valid UTF-8")
	case strings.ContainsRune(text, 0):
		p.add(field, "contains the character U+0000")
	case utf8.RuneCountInString(text) > limit:
		p.add(field, "is longer than %d characters", limit)
	default:
		return true
	}
	return false
}

// Check returns everything that is wrong with a workflow that somebody wants to
// register. A nil result means nothing.
func Check(spec *api.WorkflowSpec) []api.FieldProblem {
	var p problems
	for _, f := range Fields {
		text := f.Get(spec)
		if p.text(f.Name, text, f.Max, f.Required) && f.Pattern != nil && !f.Pattern.MatchString(text) {
			p.add(f.Name, "does not match %s", f.Pattern)
		}
	}
	if spec.Version != "" && !ValidVersion(spec.Version) {
		p.add("version", "is not a semantic version like 1.10.0 or 2.0.0-rc.1 (build metadata is not taken)")
	}
	p.checkHashes(spec)
	p.checkChoices(spec)
	p.checkNames("secrets", spec.Secrets)
	p.checkNames("config_maps", spec.ConfigMaps)
	p.checkCustomLabels(spec.CustomLabels)
	p.checkParameters(spec.Parameters)
	return p
}

func (p *problems) checkHashes(spec *api.WorkflowSpec) {
	switch {
	case !contentHash.MatchString(spec.ContentHash):
		p.add("content_hash", "must be the SHA-256 of content in 64 lower-case hexadecimal digits")
	case spec.ContentHash != Hash(spec.Content):
		p.add("content_hash", "is not the SHA-256 of content, which is %s", Hash(spec.Content))
	}
	if d := spec.ContainerDigest; d != "" && !imageDigest.MatchString(d) {
		p.add("container_digest", "does not match %s", imageDigest)
	}
}

func (p *problems) checkChoices(spec *api.WorkflowSpec) {
	if e := spec.ExecutionEngine; e != "" && !e.Valid() {
		p.add("execution_engine", "must be tekton or job")
	}
	if s := spec.Status; s != "" && !s.Valid() {
		p.add("status", "must be active, deprecated, disabled or archived")
	}
	if r := spec.Risk; r != "" && !r.Valid() {
		p.add("risk", "must be low, medium or high")
	}
}

func (p *problems) checkNames(field string, names []string) {
	if len(names) > maxNames {
		p.add(field, "has more than %d names", maxNames)
		return
	}
	for i, name := range names {
		p.text(fmt.Sprintf("%s[%d]", field, i), name, 253, true)
	}
}

func (p *problems) checkCustomLabels(labels api.CustomLabels) {
	if len(labels) > maxCustom {
		p.add("custom_labels", "has more than %d labels", maxCustom)
		return
	}
	for name, values := range labels {
		p.text("custom_labels", name, 100, true)
		if len(values) > maxCustom {
			p.add("custom_labels."+name, "has more than %d values", maxCustom)
			continue
		}
		for i, v := range values {
			p.text(fmt.Sprintf("custom_labels.%s[%d]", name, i), v, 100, true)
		}
	}
}

func (p *problems) checkParameters(parameters []api.WorkflowParameter) {
	if len(parameters) > maxParameters {
		p.add("parameters", "has more than %d parameters", maxParameters)
		return
	}
	seen := map[string]bool{}
	for i := range parameters {
		field := fmt.Sprintf("parameters[%d]", i)
		if seen[parameters[i].Name] {
			p.add(field+".name", "%s is declared twice", parameters[i].Name)
		}
		seen[parameters[i].Name] = true
		p.checkParameter(field, &parameters[i])
	}
}

func (p *problems) checkParameter(field string, d *api.WorkflowParameter) {
	if p.text(field+".name", d.Name, 100, true) && !parameterName.MatchString(d.Name) {
		p.add(field+".name", "does not match %s", parameterName)
	}
	p.text(field+".description", d.Description, 1000, false)
	if d.Type != "" && !d.Type.Valid() {
		p.add(field+".type", "must be string, integer, number or boolean")
	}
	if len(d.Enum) > maxEnum {
		p.add(field+".enum", "has more than %d values", maxEnum)
	}
	for i, v := range d.Enum {
		p.text(fmt.Sprintf("%s.enum[%d]", field, i), v, maxParameterRaw, false)
	}
	if _, err := regexp.Compile(d.Pattern); err != nil || len(d.Pattern) > 1000 {
		p.add(field+".pattern", "is not a regular expression (RE2) of at most 1000 characters")
		return
	}
	if d.Minimum != nil && d.Maximum != nil && *d.Minimum > *d.Maximum {
		p.add(field+".minimum", "is above maximum")
	}
	if d.Default == nil {
		return
	}
	if d.Secret {
		p.add(field+".default", "is given for a secret: a secret has none")
	} else if message := Objection(d, *d.Default); message != "" {
		p.add(field+".default", "%s", message)
	}
}

// Objection says why a value is not one that a declared parameter takes, without
// the value itself; "" means it is. The declaration has passed Check.
func Objection(d *api.WorkflowParameter, value string) string {
	if utf8.RuneCountInString(value) > maxParameterRaw || strings.ContainsRune(value, 0) {
		return fmt.Sprintf("is longer than %d characters or contains U+0000", maxParameterRaw)
	}
	number := 0.0
	var err error
	switch d.Type {
	case api.WorkflowParameterTypeInteger:
		var n int64
		n, err = strconv.ParseInt(value, 10, 64)
		number = float64(n)
	case api.WorkflowParameterTypeNumber:
		number, err = strconv.ParseFloat(value, 64)
	case api.WorkflowParameterTypeBoolean:
		if value != "true" && value != "false" {
			return "is not true or false"
		}
	}
	numeric := d.Type == api.WorkflowParameterTypeInteger || d.Type == api.WorkflowParameterTypeNumber
	switch {
	case err != nil:
		return "is not of type " + string(d.Type)
	case numeric && d.Minimum != nil && number < *d.Minimum:
		return fmt.Sprintf("is below the minimum %v", *d.Minimum)
	case numeric && d.Maximum != nil && number > *d.Maximum:
		return fmt.Sprintf("is above the maximum %v", *d.Maximum)
	case len(d.Enum) > 0 && !slices.Contains(d.Enum, value):
		return "is not one of: " + strings.Join(d.Enum, ", ")
	case d.Pattern != "" && !regexp.MustCompile(`^(?:`+d.Pattern+`)$`).MatchString(value):
		return "does not match " + d.Pattern
	}
	return ""
}
