// Package bundle reads what workflows run in the registries where it is kept. It
// implements datastorage.Bundles.
package bundle

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/datastorage"
	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
	"kubernaut.ai/kubernaut/internal/registry"
)

// Reader reads bundles. Its files are read anew each time, so that a Secret that
// changes is taken up.
type Reader struct {
	CAFile    string        // PEM; beside the authorities of the machine; empty: only those
	LoginFile string        // a Docker configuration; empty: anonymous
	Patience  time.Duration // for one bundle
	// Options changes how registries are reached; nil: not.
	Options func(registry.Options) registry.Options
}

var _ datastorage.Bundles = (*Reader)(nil)

// maxObject is how large a Pipeline may be, in the registry and unpacked.
const maxObject = 1 << 20

// Inspect implements datastorage.Bundles.
func (r *Reader) Inspect(ctx context.Context, o datastorage.Artifact) (datastorage.Inspected, error) {
	ref, err := pinned(o)
	if err != nil {
		return datastorage.Inspected{}, err
	}
	options, err := r.options(ref)
	if err != nil {
		return datastorage.Inspected{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	found, err := registry.Ask(ctx, "reading", ref, options, func(ref name.Reference, options ...remote.Option) (contents, error) {
		return read(ref, o.Pipeline, options...)
	})
	if err != nil {
		return datastorage.Inspected{}, unusable(err)
	}
	inspected := datastorage.Inspected{Digest: found.digest.String()}
	if o.Pipeline {
		inspected.Parameters, err = found.parameters(ref)
	}
	return inspected, err
}

// pinned is the reference that is read: the digest decides where there is one.
func pinned(o datastorage.Artifact) (string, error) {
	image, own, _ := strings.Cut(o.Image, "@")
	digest := o.Digest
	switch {
	case digest == "":
		digest = own
	case own != "" && own != digest:
		return "", datastorage.Unverified("it names the digest %s, and container_digest is another", own)
	}
	if digest == "" {
		return image, nil
	}
	if colon := strings.LastIndexByte(image, ':'); colon > strings.LastIndexByte(image, '/') {
		image = image[:colon]
	}
	return image + "@" + digest, nil
}

// options are how the registry of ref is reached, with its login.
func (r *Reader) options(ref string) (registry.Options, error) {
	o := registry.Options{Public: true}
	var err error
	if r.CAFile != "" {
		if o.CA, err = os.ReadFile(r.CAFile); err != nil {
			return o, fmt.Errorf("reading the authorities of registries: %w", err)
		}
	}
	if parsed, refused := name.ParseReference(ref); r.LoginFile != "" && refused == nil {
		config, err := os.ReadFile(r.LoginFile)
		if err != nil {
			return o, fmt.Errorf("reading the logins for registries: %w", err)
		}
		if o.Credentials, _, err = registry.Login(config, parsed.Context().RegistryStr()); err != nil {
			return o, err
		}
	}
	if r.Options != nil {
		o = r.Options(o)
	}
	return o, nil
}

// contents is what a registry has under a reference.
type contents struct {
	digest   v1.Hash
	has      []string // the Tekton objects in it, as "task build"
	pipeline []byte   // nil: it has none of the name that runs look for
	tooLarge bool
}

func read(ref name.Reference, pipeline bool, options ...remote.Option) (contents, error) {
	found, err := remote.Get(ref, options...)
	if err != nil {
		return contents{}, err
	}
	c := contents{digest: found.Digest}
	if !pipeline || found.MediaType.IsIndex() {
		return c, nil
	}
	img, err := found.Image()
	if err != nil {
		return c, err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return c, err
	}
	for _, layer := range manifest.Layers {
		kind, object := layer.Annotations["dev.tekton.image.kind"], layer.Annotations["dev.tekton.image.name"]
		if kind == "" {
			continue
		}
		c.has = append(c.has, kind+" "+object)
		if kind != "pipeline" || object != v1alpha1.PipelineName {
			continue
		}
		if c.tooLarge = layer.Size > maxObject; c.tooLarge {
			continue
		}
		if c.pipeline, err = file(img, layer.Digest); err != nil {
			return c, err
		}
	}
	c.tooLarge = c.tooLarge || len(c.pipeline) > maxObject
	return c, nil
}

// file is the first file of a layer, up to a byte more than may be.
func file(img v1.Image, digest v1.Hash) ([]byte, error) {
	layer, err := img.LayerByDigest(digest)
	if err != nil {
		return nil, err
	}
	content, err := layer.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	archive := tar.NewReader(content)
	if _, err := archive.Next(); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(archive, maxObject+1))
}

// parameters are those that the Pipeline takes.
func (c contents) parameters(ref string) ([]catalog.PipelineParameter, error) {
	switch {
	case c.tooLarge:
		return nil, datastorage.Unverified("the Pipeline in %s is larger than %d bytes", ref, maxObject)
	case c.pipeline == nil && len(c.has) == 0:
		return nil, datastorage.Unverified("%s is no Tekton bundle: none of its layers says which object it holds", ref)
	case c.pipeline == nil:
		return nil, datastorage.Unverified("the bundle %s has no Pipeline of the name %s; it has: %s", ref, v1alpha1.PipelineName, strings.Join(c.has, ", "))
	}
	var pipeline struct {
		Spec struct {
			Params []struct {
				Name    string `json:"name"`
				Type    string `json:"type"`
				Default any    `json:"default"`
			} `json:"params"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(c.pipeline, &pipeline); err != nil {
		return nil, datastorage.Unverified("the Pipeline in %s cannot be read: %v", ref, err)
	}
	var all []catalog.PipelineParameter
	for _, p := range pipeline.Spec.Params {
		taken := catalog.PipelineParameter{Name: p.Name, Type: p.Type}
		if p.Default != nil {
			text := fmt.Sprint(p.Default)
			taken.Default = &text
		}
		all = append(all, taken)
	}
	return all, nil
}

// unusable tells the errors of a registry apart: those that the same request meets
// again, and those that pass.
func unusable(err error) error {
	e, ok := err.(*registry.Error) //nolint:errorlint // Ask returns it as it is
	if !ok {
		return err
	}
	switch e.Cause {
	case registry.Unreachable, registry.Stopped:
		return &datastorage.RegistryAwayError{Message: fmt.Sprintf("registry %s cannot be asked for %s: %s", e.Host, e.Ref, e.Message), Err: err}
	case registry.Malformed:
		return datastorage.Unverified("it is not a full reference with a tag or a digest: %v", e.Err)
	case registry.Absent:
		return datastorage.Unverified("%s is absent: registry %s: %s", e.Ref, e.Host, e.Message)
	case registry.Unauthorized:
		return datastorage.Unverified("registry %s refuses Data Storage: %s; give it a login: catalog.dockerConfigFile", e.Host, e.Message)
	case registry.Untrusted:
		return datastorage.Unverified("registry %s is not trusted (TLS): %s; give Data Storage its authority: catalog.registryCAFile", e.Host, e.Message)
	}
	return datastorage.Unverified("registry %s: %s", e.Host, e.Message)
}
