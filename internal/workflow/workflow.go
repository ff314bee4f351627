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
	"slices"
	"strings"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"golang.org/x/mod/semver"
	"sigs.k8s.io/yaml"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// The files of a workflow's folder.
const (
	DefinitionFile = "workflow.yaml"
	PipelineFile   = "pipeline.yaml"
	ProgramFile    = "run.sh"
)

// The engines that carry out workflows.
const (
	EngineTekton = "tekton"
	EngineJob    = "job"
)

// Definition is the content of workflow.yaml.
type Definition struct {
	// Name and Version are the workflow's id in the catalog. A version never
	// changes; a change is another version (semver.org).
	Name    string `json:"name"`
	Version string `json:"version"`

	Title       string `json:"title"`
	Description string `json:"description"`
	Owner       string `json:"owner,omitempty"`
	Risk        string `json:"risk,omitempty"` // low, medium or high

	// Engine carries out its runs: tekton (the default) or job.
	Engine string `json:"engine,omitempty"`
	// Image is what the one container of a job runs, or what run.sh is added to.
	Image string `json:"image,omitempty"`

	Labels       datastorage.WorkflowLabels      `json:"labels"`
	CustomLabels datastorage.CustomLabels        `json:"customLabels,omitempty"`
	Parameters   []datastorage.WorkflowParameter `json:"parameters,omitempty"`

	// What its runs may use, in the namespace of the runs.
	ServiceAccount string   `json:"serviceAccount,omitempty"`
	Secrets        []string `json:"secrets,omitempty"`
	ConfigMaps     []string `json:"configMaps,omitempty"`
}

// Workflow is a workflow that was read and checked.
type Workflow struct {
	Definition Definition
	Pipeline   *tekton.Pipeline // of a workflow for Tekton
	Program    []byte           // of a workflow for a job: run.sh, when there is one

	content []byte // of workflow.yaml, as it was read
}

// Read reads and checks the workflow in the root of folder. The error tells
// everything that is wrong with it, not just the first thing.
func Read(folder fs.FS) (*Workflow, error) {
	content, err := fs.ReadFile(folder, DefinitionFile)
	if err != nil {
		return nil, missing(err, DefinitionFile)
	}
	w := &Workflow{content: content}
	if err := yaml.UnmarshalStrict(content, &w.Definition); err != nil {
		return nil, fmt.Errorf("%s: %w", DefinitionFile, err)
	}
	read := w.readPipeline
	if w.Definition.Engine == EngineJob {
		read = w.readProgram
	}
	return w, errors.Join(w.Definition.check(), read(folder))
}

func (w *Workflow) readPipeline(folder fs.FS) error {
	raw, err := fs.ReadFile(folder, PipelineFile)
	if err != nil {
		return missing(err, PipelineFile)
	}
	w.Pipeline = &tekton.Pipeline{}
	if err := yaml.UnmarshalStrict(raw, w.Pipeline); err != nil {
		return fmt.Errorf("%s: %w", PipelineFile, err)
	}
	return errors.Join(checkPipeline(w.Pipeline), w.checkParameters())
}

func missing(err error, file string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s; a workflow is a folder with %s and %s", file, DefinitionFile, PipelineFile)
	}
	return fmt.Errorf("reading %s: %w", file, err)
}

func (d *Definition) check() error {
	var errs []error
	for _, field := range []struct{ name, value string }{
		{"name", d.Name}, {"title", d.Title}, {"description", d.Description},
		{"labels.signal_type", d.Labels.SignalType}, {"labels.severity", d.Labels.Severity},
		{"labels.component", d.Labels.Component}, {"labels.environment", d.Labels.Environment},
		{"labels.priority", d.Labels.Priority},
	} {
		if field.value == "" {
			errs = append(errs, fmt.Errorf("%s: %s is missing", DefinitionFile, field.name))
		}
	}
	if v := "v" + d.Version; !semver.IsValid(v) || strings.Count(strings.SplitN(d.Version, "-", 2)[0], ".") != 2 {
		errs = append(errs, fmt.Errorf("%s: version %q is not a semantic version such as 1.0.0", DefinitionFile, d.Version))
	}
	if d.Risk != "" && !slices.Contains([]string{"low", "medium", "high"}, d.Risk) {
		errs = append(errs, fmt.Errorf("%s: risk %q is not low, medium or high", DefinitionFile, d.Risk))
	}
	return errors.Join(append(errs, d.checkEngine())...)
}

func (d *Definition) checkEngine() error {
	switch {
	case d.Engine != "" && d.Engine != EngineTekton && d.Engine != EngineJob:
		return fmt.Errorf("%s: engine %q is neither %s nor %s", DefinitionFile, d.Engine, EngineTekton, EngineJob)
	case d.Engine == EngineJob && d.Image == "":
		return fmt.Errorf("%s: image is missing: it is what the container of a job runs", DefinitionFile)
	case d.Engine != EngineJob && d.Image != "":
		return fmt.Errorf("%s: image is for engine %s; the steps of a Pipeline name their own", DefinitionFile, EngineJob)
	}
	return nil
}
