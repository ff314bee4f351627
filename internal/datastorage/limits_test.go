package datastorage

import (
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
)

// TestLimitsAreThoseOfTheContract compares the limits that validation knows with
// those of openapi.yaml; package postgres compares them with the columns.
func TestLimitsAreThoseOfTheContract(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	schemas := doc.Components.Schemas
	compare := func(schema, name string, want int, required bool, pattern *regexp.Regexp) {
		t.Helper()
		parent := schemas[schema].Value
		property, ok := parent.Properties[name]
		if !ok || property.Value.MaxLength == nil {
			t.Errorf("%s.%s has no maxLength", schema, name)
			return
		}
		p := property.Value
		if got := int(*p.MaxLength); got != want || (p.MinLength > 0) != required {
			t.Errorf("%s.%s: maxLength %d, minLength %d; validation has %d, required %v", schema, name, got, p.MinLength, want, required)
		}
		if listed := strings.Contains(" "+strings.Join(parent.Required, " ")+" ", " "+name+" "); listed != required {
			t.Errorf("%s.%s: required is %v, validation has %v", schema, name, listed, required)
		}
		if want := text(pattern); p.Pattern != want {
			t.Errorf("%s.%s: pattern %q, validation has %q", schema, name, p.Pattern, want)
		}
	}
	for _, f := range audit.Fields {
		compare("AuditEvent", f.Name, f.Max, f.Required, f.Pattern)
	}
	for _, f := range catalog.Fields {
		schema, name := "WorkflowSpec", f.Name
		if label, ok := strings.CutPrefix(f.Name, "labels."); ok {
			schema, name = "WorkflowLabels", label
		}
		compare(schema, name, f.Max, f.Required, f.Pattern)
	}
	for _, f := range notificationFields {
		compare("Notification", f.name, f.max, f.required, nil)
	}
	if got := int(*schemas["Notification"].Value.Properties["escalation_level"].Value.Max); got != maxEscalation {
		t.Errorf("escalation_level is at most %d in the contract, %d in the program", got, maxEscalation)
	}
	batch := doc.Paths.Find("/api/v1/audit/events/batch").Post.RequestBody.Value.Content["application/json"].Schema.Value
	if got := int(*batch.MaxItems); got != api.MaxBatchEvents {
		t.Errorf("a batch has at most %d events in the contract, %d in the program", got, api.MaxBatchEvents)
	}
	for name, bounds := range parameterRanges {
		for _, p := range doc.Paths.Find("/api/v1/audit/events").Get.Parameters {
			if s := p.Value.Schema.Value; p.Value.Name == name && (int64(*s.Min) != bounds[0] || int64(*s.Max) != bounds[1]) {
				t.Errorf("parameter %s: %v to %v in the contract, %v in the program", name, *s.Min, *s.Max, bounds)
			}
		}
	}
}

// TestFiltersAreThoseOfTheContract compares the lengths of query parameters with
// those of the members they are compared with.
func TestFiltersAreThoseOfTheContract(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	limits := map[string]int{}
	for _, f := range audit.Fields {
		limits[f.Name] = f.Max
	}
	compared := 0
	for _, p := range doc.Paths.Find("/api/v1/audit/events").Get.Parameters {
		if p.Value.Name == "event_data" {
			if s := p.Value.Schema.Value; int(*s.MaxItems) != maxDataTerms || int(*s.Items.Value.MaxLength) != maxDataTerm {
				t.Errorf("event_data: %d of %d characters in the contract", *s.MaxItems, *s.Items.Value.MaxLength)
			}
		}
		if want, ok := limits[p.Value.Name]; ok {
			compared++
			if got := int(*p.Value.Schema.Value.MaxLength); got != want {
				t.Errorf("filter %s: maxLength %d, the member has %d", p.Value.Name, got, want)
			}
		}
	}
	if compared != len(audit.Fields) {
		t.Errorf("%d members are filters, want all %d", compared, len(audit.Fields))
	}
	keys := doc.Paths.Find("/api/v1/audit/summary").Get.Parameters.GetByInAndName("query", "group_by").Schema.Value
	if int(*keys.MaxItems) != maxSummaryKeys {
		t.Errorf("a summary has up to %d keys in the contract, %d in the program", *keys.MaxItems, maxSummaryKeys)
	}
	id := doc.Paths.Find("/api/v1/audit/executions/{execution_id}/completeness").Parameters[0].Value.Schema.Value
	if int(*id.MaxLength) != limits["resource_id"] || maxExecutionID != limits["resource_id"] {
		t.Errorf("an execution_id is not as long as a resource_id")
	}
}

func text(pattern *regexp.Regexp) string {
	if pattern == nil {
		return ""
	}
	return pattern.String()
}
