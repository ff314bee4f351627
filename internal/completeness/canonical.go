package completeness

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf16"
)

// canonical writes what encoding/json has read into an any in the form of RFC 8785.
func canonical(b []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return text(b, v), nil
	case float64:
		return number(b, v)
	case []any:
		return list(b, v)
	case map[string]any:
		return object(b, v)
	}
	return nil, fmt.Errorf("a %T is no JSON value", value)
}

func list(b []byte, values []any) (_ []byte, err error) {
	b = append(b, '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = canonical(b, v); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// object writes members by their names as UTF-16.
func object(b []byte, members map[string]any) (_ []byte, err error) {
	names := slices.SortedFunc(maps.Keys(members), func(a, b string) int {
		return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
	})
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = canonical(append(text(b, name), ':'), members[name]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// number writes as JavaScript does, which encoding/json does too, but for -0.
func number(b []byte, f float64) ([]byte, error) {
	if f == 0 {
		return append(b, '0'), nil
	}
	raw, err := json.Marshal(f)
	return append(b, raw...), err
}

var escapes = map[rune]string{
	'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`,
}

func text(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		escape, named := escapes[r]
		switch {
		case named:
			b = append(b, escape...)
		case r < ' ':
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}
