// Package workflow reads, checks and publishes workflows. One is a folder of two
// files: workflow.yaml says what it is, pipeline.yaml is the Tekton Pipeline; for
// the engine job, run.sh is the program of its one container.
//
//	folder ──► Workflow (checked) ──► bundle or image in the registry ──► entry in the catalog
package workflow

import (
	"errors"
	"fmt"
	"io/fs"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
	"kubernaut.ai/kubernaut/internal/datastorage/descriptor"
)

// The files of a workflow's folder.
const (
	DefinitionFile = descriptor.File
	PipelineFile   = "pipeline.yaml"
	ProgramFile    = "run.sh"
)

// EngineJob runs one container; the default runs a Pipeline.
const EngineJob = "job"

// Workflow is a workflow that was read and checked.
type Workflow struct {
	Definition *descriptor.Descriptor
	Pipeline   *tekton.Pipeline // of a workflow for Tekton
	Program    []byte           // of a workflow for a job: run.sh, when there is one
}

// Read reads and checks the workflow in the root of folder. When the files are there
// and something is wrong with them, the error is Problems: all of it, not just the
// first thing.
func Read(folder fs.FS) (*Workflow, error) {
	content, err := fs.ReadFile(folder, DefinitionFile)
	if err != nil {
		return nil, missing(err, DefinitionFile)
	}
	w, found := &Workflow{}, Problems{}
	if w.Definition, err = descriptor.Read(content); err != nil {
		wrong, _ := errors.AsType[descriptor.Problems](err)
		found.of(wrong)
	}
	read := w.readPipeline
	if w.Definition != nil && w.Definition.Engine == EngineJob {
		read = w.readProgram
	}
	if err := read(folder, &found); err != nil {
		return nil, errors.Join(found.orNil(), err)
	}
	if len(found) > 0 {
		return nil, found
	}
	return w, nil
}

func missing(err error, file string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s; a workflow is a folder with %s and %s", file, DefinitionFile, PipelineFile)
	}
	return fmt.Errorf("reading %s: %w", file, err)
}

func (w *Workflow) readPipeline(folder fs.FS, found *Problems) error {
	raw, err := fs.ReadFile(folder, PipelineFile)
	if err != nil {
		return missing(err, PipelineFile)
	}
	w.Pipeline = &tekton.Pipeline{}
	if err := yaml.UnmarshalStrict(raw, w.Pipeline); err != nil {
		found.add(PipelineFile, "%v", err)
		return nil
	}
	checkPipeline(found, w.Pipeline)
	if w.Definition == nil {
		return nil
	}
	for _, message := range catalog.Disagreements(w.Definition.Parameters, taken(w.Pipeline)) {
		found.add(PipelineFile, "%s", message)
	}
	return nil
}

func taken(p *tekton.Pipeline) []catalog.PipelineParameter {
	var all []catalog.PipelineParameter
	for _, param := range p.Spec.Params {
		t := catalog.PipelineParameter{Name: param.Name, Type: string(param.Type)}
		if param.Default != nil {
			t.Default = &param.Default.StringVal
		}
		all = append(all, t)
	}
	return all
}
