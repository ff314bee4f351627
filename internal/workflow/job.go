package workflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/datastorage/descriptor"
	"kubernaut.ai/kubernaut/internal/image"
	"kubernaut.ai/kubernaut/internal/registry"
)

// programPath is where run.sh stands in the image.
const programPath = "/workflow/run.sh"

func (w *Workflow) readProgram(folder fs.FS, found *Problems) error {
	if _, err := fs.Stat(folder, PipelineFile); err == nil {
		found.add(PipelineFile, "a workflow of engine %s has none; its program is %s, or its image's own", EngineJob, ProgramFile)
	}
	program, err := fs.ReadFile(folder, ProgramFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the image knows what to run
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", ProgramFile, err)
	}
	if !bytes.HasPrefix(program, []byte("#!/")) {
		found.add(ProgramFile, "its first line must say what runs it, such as #!/bin/sh")
	}
	w.Program = program
	return nil
}

// publishImage sends the image of a job to the registry, when a program is added
// to it, and returns the reference and the digest of what runs.
func (w *Workflow) publishImage(ctx context.Context, home connect.Registry, say func(string)) (reference, digest string, err error) {
	base := w.Definition.Image
	if rest, ok := strings.CutPrefix(base, descriptor.RegistryVariable); ok {
		base = home.Prefix + "/" + rest
	}
	ours := strings.HasPrefix(base, home.Prefix+"/")
	name, pinned, isPinned := strings.Cut(base, "@")
	switch {
	case w.Program != nil && !ours:
		return "", "", fmt.Errorf("%s: image %s is not in the installation's registry %s, where %s could be added to it; push it there", DefinitionFile, base, home.Prefix, ProgramFile)
	case w.Program != nil:
		say("adding " + ProgramFile + " to " + base)
		img, err := image.WithProgram(ctx, base, image.Text{Path: programPath, Content: string(w.Program), Mode: 0o755}, home.Options)
		if err != nil {
			return "", "", err
		}
		return w.push(ctx, home, img, say)
	case isPinned:
		return name, pinned, nil
	case !ours:
		return "", "", fmt.Errorf("%s: image %s must name its digest, as in NAME@sha256:…, so that the version always means the same", DefinitionFile, base)
	}
	found, err := registry.Resolve(ctx, base, home.Options)
	return base, found.String(), err
}
