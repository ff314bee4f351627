package descriptor

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// source is a YAML document as JSON values, with the line and the text of each.
type source struct {
	value   any
	lines   map[string]int    // by field; "" is the document
	texts   map[string]string // of scalars, by field
	refused Problems          // what was found while it was read and by the schema
}

// deepest is how deep values may stand in each other; a descriptor needs four.
const deepest = 16

// atLine is how the parser says where.
var atLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)

// parse reads YAML strictly: one document, no key twice, no aliases (by which a
// short text can become a huge one).
func parse(content []byte) (*source, Problems) {
	decoder := yaml.NewDecoder(strings.NewReader(string(content)))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		return nil, Problems{syntax(err)}
	}
	var second yaml.Node
	if decoder.Decode(&second) == nil {
		return nil, Problems{{Line: second.Line, Message: "a second document begins here; a workflow is one"}}
	}
	s := &source{lines: map[string]int{}, texts: map[string]string{}}
	s.value = s.read(document.Content[0], "", 0)
	return s, s.refused
}

// syntax says in our form what the parser says.
func syntax(err error) Problem {
	message := err.Error()
	if message == "EOF" {
		return Problem{Line: 1, Message: "it is empty"}
	}
	if m := atLine.FindStringSubmatch(message); m != nil {
		line, _ := strconv.Atoi(m[1]) // digits
		return Problem{Line: line, Message: "is not YAML: " + m[2]}
	}
	return Problem{Line: 1, Message: "is not YAML: " + strings.TrimPrefix(message, "yaml: ")}
}

func (s *source) refuse(n *yaml.Node, field, message string) {
	s.refused = append(s.refused, Problem{n.Line, field, message})
}

func (s *source) read(n *yaml.Node, field string, depth int) any {
	s.lines[field] = n.Line
	if depth > deepest {
		s.refuse(n, field, "is nested too deeply")
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		return s.mapping(n, field, depth)
	case yaml.SequenceNode:
		items := make([]any, len(n.Content))
		for i, item := range n.Content {
			items[i] = s.read(item, fmt.Sprintf("%s[%d]", field, i), depth+1)
		}
		return items
	case yaml.ScalarNode:
		return s.scalar(n, field)
	}
	s.refuse(n, field, "is an alias; write the value itself")
	return nil
}

func (s *source) mapping(n *yaml.Node, field string, depth int) any {
	members := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		member := joined(field, key.Value)
		switch _, twice := members[key.Value]; {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!merge":
			s.refuse(key, field, "has a key that is not a text")
			continue
		case twice:
			s.refuse(key, member, fmt.Sprintf("stands in line %d already", s.lines[member]))
			continue
		}
		members[key.Value] = s.read(n.Content[i+1], member, depth+1)
		s.lines[member] = key.Line
	}
	return members
}

// scalar is a text, a number, a boolean or nil; what JSON does not know stays text.
func (s *source) scalar(n *yaml.Node, field string) any {
	var v any
	if err := n.Decode(&v); err != nil {
		s.refuse(n, field, "cannot be read: "+firstLine(err))
		return nil
	}
	if n.Tag != "!!null" {
		s.texts[field] = n.Value
	}
	switch v := v.(type) {
	case time.Time, []byte:
		return n.Value
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return n.Value
		}
	}
	return v
}

func firstLine(err error) string {
	if all, ok := errors.AsType[*yaml.TypeError](err); ok && len(all.Errors) > 0 {
		return all.Errors[0]
	}
	return err.Error()
}

func joined(field, member string) string {
	if field == "" {
		return member
	}
	return field + "." + member
}

// line is where a field stands, or where the nearest stands that it would be in.
func (s *source) line(field string) int {
	for {
		if line, ok := s.lines[field]; ok {
			return line
		}
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
	}
}
