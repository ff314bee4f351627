package descriptor

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// published is the schema in the repository, which Data Storage serves and editors
// use: what it refuses is refused here.
var published = sync.OnceValue(func() *openapi3.Schema {
	s := &openapi3.Schema{}
	if err := json.Unmarshal(api.WorkflowSchema, s); err != nil {
		panic(fmt.Sprintf("reading workflow.schema.json: %v", err)) // it is part of the program
	}
	return s
})

// shape asks the published schema. Its conditions are asked one by one, so that
// one that is broken hides nothing else.
func (s *source) shape() Problems {
	whole := *published()
	conditions := whole.AllOf
	whole.AllOf = nil
	s.collect(whole.VisitJSON(s.value, openapi3.MultiErrors()))
	if _, ok := s.value.(map[string]any); ok {
		for _, c := range conditions {
			if c.Value.VisitJSON(s.value) != nil {
				s.refused = append(s.refused, Problem{s.line("image"), "image", c.Value.Description})
			}
		}
	}
	return s.refused
}

// collect turns the errors of the schema into problems with lines.
func (s *source) collect(err error) {
	if all, ok := errors.AsType[openapi3.MultiError](err); ok {
		for _, one := range all {
			s.collect(one)
		}
		return
	}
	e, ok := errors.AsType[*openapi3.SchemaError](err)
	if !ok {
		return
	}
	field := named(e.JSONPointer())
	if e.SchemaField != "properties" {
		s.refused = append(s.refused, Problem{s.line(field), field, s.message(e, field)})
		return
	}
	known := slices.Sorted(maps.Keys(e.Schema.Properties))
	members, _ := e.Value.(map[string]any)
	for name := range members {
		if !slices.Contains(known, name) {
			unknown := joined(field, name)
			s.refused = append(s.refused, Problem{s.line(unknown), unknown, "is not known; known are: " + strings.Join(known, ", ")})
		}
	}
}

// named writes a JSON pointer as people write fields: parameters[2].default.
func named(pointer []string) string {
	field := ""
	for _, token := range pointer {
		if strings.Trim(token, "0123456789") == "" && token != "" {
			field += "[" + token + "]"
		} else {
			field = joined(field, token)
		}
	}
	return field
}

// message says what a field must be, in our words where we have any.
func (s *source) message(e *openapi3.SchemaError, field string) string {
	switch e.SchemaField {
	case "required":
		return "is missing"
	case "type":
		must := "must be of type " + strings.Join(*e.Schema.Type, " or ")
		if text, scalar := s.texts[field]; scalar && e.Schema.Type.Is("string") {
			return fmt.Sprintf("%s: write it in quotes, %q", must, text)
		}
		return must
	case "enum":
		return "must be one of " + strings.Trim(fmt.Sprint(e.Schema.Enum), "[]")
	case "pattern":
		return "does not match " + e.Schema.Pattern
	case "minLength":
		return "is empty"
	case "maxLength":
		return fmt.Sprintf("is longer than %d characters", *e.Schema.MaxLength)
	case "maxItems":
		return fmt.Sprintf("has more than %d items", *e.Schema.MaxItems)
	case "maxProperties":
		return fmt.Sprintf("has more than %d members", *e.Schema.MaxProps)
	}
	return e.Reason
}
