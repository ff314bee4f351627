package datastorage

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// checkQuery refuses what the generated code lets pass: parameters that the
// operation does not know, or that are given twice or empty, and values out of
// their range. A filter that were ignored would answer with more than was asked for.
func checkQuery(raw url.Values, params any) error {
	known := map[string]reflect.Value{}
	v := reflect.ValueOf(params)
	for i := range v.NumField() {
		if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("form"), ","); name != "" { // others are headers
			known[name] = v.Field(i)
		}
	}
	var found []api.FieldProblem
	for name, values := range raw {
		if message := objectionTo(known, name, values); message != "" {
			found = append(found, api.FieldProblem{Field: name, Message: message})
		}
	}
	if len(found) == 0 {
		return nil
	}
	slices.SortFunc(found, func(a, b api.FieldProblem) int { return strings.Compare(a.Field, b.Field) })
	return invalid("correct the parameters named; /openapi.yaml has them all", found...)
}

// parameterRanges are the bounds of parameters that are numbers.
var parameterRanges = map[string][2]int64{"limit": {1, maxLimit}, "offset": {0, maxOffset}}

func objectionTo(known map[string]reflect.Value, name string, values []string) string {
	value, ok := known[name]
	switch {
	case !ok:
		return "is not a parameter of this operation"
	case len(values) > 1 && value.Kind() != reflect.Slice:
		return "is given more than once"
	case slices.Contains(values, ""):
		return "is empty"
	case slices.ContainsFunc(values, func(v string) bool { return strings.ContainsRune(v, 0) || !utf8.ValidString(v) }):
		return "is not valid text"
	}
	if enum, ok := value.Interface().(interface{ Valid() bool }); ok && !enum.Valid() {
		return "is not one of the values that the contract names"
	}
	if id, ok := value.Interface().(uuid.UUID); ok && id == uuid.Nil {
		return "names nothing"
	}
	if bounds, ok := parameterRanges[name]; ok && (value.Int() < bounds[0] || value.Int() > bounds[1]) {
		return fmt.Sprintf("must be between %d and %d", bounds[0], bounds[1])
	}
	return ""
}
