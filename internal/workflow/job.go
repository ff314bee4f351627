package workflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/image"
)

// programPath is where run.sh stands in the image.
const programPath = "/workflow/run.sh"

func (w *Workflow) readProgram(folder fs.FS) error {
	if _, err := fs.Stat(folder, PipelineFile); err == nil {
		return fmt.Errorf("%s: a workflow of engine %s has none; its program is %s, or its image's own", PipelineFile, EngineJob, ProgramFile)
	}
	program, err := fs.ReadFile(folder, ProgramFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the image knows what to run
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", ProgramFile, err)
	}
	if !bytes.HasPrefix(program, []byte("#!/")) {
		return fmt.Errorf("%s: its first line must say what runs it, such as #!/bin/sh", ProgramFile)
	}
	w.Program = program
	return nil
}

// publishImage sends the image of a job to the registry, when a program is added
// to it, and returns the reference and the digest of what runs.
func (w *Workflow) publishImage(ctx context.Context, registry connect.Registry, say func(string)) (reference, digest string, err error) {
	base := w.Definition.Image
	if rest, ok := strings.CutPrefix(base, registryVariable); ok {
		base = registry.Prefix + "/" + rest
	}
	ours := strings.HasPrefix(base, registry.Prefix+"/")
	name, pinned, isPinned := strings.Cut(base, "@")
	switch {
	case w.Program != nil && !ours:
		return "", "", fmt.Errorf("%s: image %s is not in the installation's registry %s, where %s could be added to it; push it there", DefinitionFile, base, registry.Prefix, ProgramFile)
	case w.Program != nil:
		say("adding " + ProgramFile + " to " + base)
		img, err := image.WithProgram(ctx, base, image.Text{Path: programPath, Content: string(w.Program), Mode: 0o755}, registry.Options)
		if err != nil {
			return "", "", err
		}
		return w.push(ctx, registry, img, say)
	case isPinned:
		return name, pinned, nil
	case !ours:
		return "", "", fmt.Errorf("%s: image %s must name its digest, as in NAME@sha256:…, so that the version always means the same", DefinitionFile, base)
	}
	found, err := image.Resolve(ctx, base, registry.Options)
	return base, found.String(), err
}
