package workflow

import (
	"fmt"
	"strings"

	"kubernaut.ai/kubernaut/internal/datastorage/descriptor"
)

// Problem is one thing that is wrong with a workflow's folder.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"` // counted from 1; 0: of the whole
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

func (p Problem) String() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return where + ": " + strings.TrimSpace(p.Field+" "+p.Message)
}

// Problems is everything that is wrong with a folder. It says one thing in a line.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// orNil is an error only when there is a problem.
func (p Problems) orNil() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

func (p *Problems) add(file, format string, args ...any) {
	*p = append(*p, Problem{File: file, Message: fmt.Sprintf(format, args...)})
}

// of takes over what is wrong with workflow.yaml.
func (p *Problems) of(found descriptor.Problems) {
	for _, f := range found {
		*p = append(*p, Problem{descriptor.File, f.Line, f.Field, f.Message})
	}
}
