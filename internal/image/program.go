package image

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"kubernaut.ai/kubernaut/internal/registry"
)

// WithProgram is the image that ref names in its registry, with a file added that
// is what it runs.
func WithProgram(ctx context.Context, ref string, program Text, o registry.Options) (v1.Image, error) {
	base, err := registry.Ask(ctx, "reading", ref, o, remote.Image)
	if err != nil {
		return nil, err
	}
	tree := NewTree()
	tree.Text(program.Path, program.Content, program.Mode)
	layer, err := newLayer(tree.write)
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, fmt.Errorf("adding a program to %s: %w", ref, err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("adding a program to %s: %w", ref, err)
	}
	file = file.DeepCopy()
	file.Config.Entrypoint, file.Config.Cmd = []string{program.Path}, nil
	return mutate.ConfigFile(img, file)
}
