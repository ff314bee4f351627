package image

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Host is the registry host of references that no registry serves: images of
// this host exist only on nodes they were loaded into.
const Host = "kubernaut.local"

// NonRoot is the user and group of images that need no user of their own.
const NonRoot = 65532

const searchPath = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

// Config is how a container of an image starts.
type Config struct {
	Entrypoint []string
	Command    []string
	Env        []string // NAME=value; PATH is added where it is not set
	WorkingDir string
	User       int // numeric, so that a kubelet can prove that it is not root
}

// Assemble makes the image whose only layer is the tree.
func Assemble(tree *Tree, c Config) (v1.Image, error) {
	layer, err := newLayer(tree.write)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config = v1.Config{
		Entrypoint: c.Entrypoint,
		Cmd:        c.Command,
		Env:        withPath(c.Env),
		WorkingDir: c.WorkingDir,
		User:       fmt.Sprintf("%d:%d", c.User, c.User),
	}
	return mutate.ConfigFile(img, file)
}

func withPath(env []string) []string {
	if slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "PATH=") }) {
		return env
	}
	return append([]string{"PATH=" + searchPath}, env...)
}

// Reference names an image by its content: kubernaut.local/<name>:<the first
// twelve hex digits of its digest>.
func Reference(name string, img v1.Image) (string, error) {
	digest, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("digest of image %s: %w", name, err)
	}
	return reference(name, digest), nil
}

func reference(name string, digest v1.Hash) string {
	return fmt.Sprintf("%s/%s:%.12s", Host, name, digest.Hex)
}
