package image

import (
	"archive/tar"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// MaxBundleObjects is how many objects Tekton's resolver takes from a bundle.
const MaxBundleObjects = 20

// Bundle makes the Tekton bundle of the given objects, each one YAML document:
// an image with one layer per object, which says what it holds by annotations.
// The order of the objects is kept; the same objects give the same digest.
func Bundle(objects ...[]byte) (v1.Image, error) {
	if len(objects) == 0 {
		return nil, fmt.Errorf("a bundle needs at least one Tekton object")
	}
	if len(objects) > MaxBundleObjects {
		return nil, fmt.Errorf("a bundle holds at most %d objects, not %d: Tekton's resolver refuses more", MaxBundleObjects, len(objects))
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	seen := map[string]bool{}
	for i, object := range objects {
		meta, err := bundled(object)
		if err != nil {
			return nil, fmt.Errorf("object %d of the bundle: %w", i+1, err)
		}
		kind := strings.ToLower(meta.Kind)
		if seen[kind+"/"+meta.Name] {
			return nil, fmt.Errorf("object %d of the bundle: a second %s named %q", i+1, meta.Kind, meta.Name)
		}
		seen[kind+"/"+meta.Name] = true
		if img, err = appendObject(img, meta, object); err != nil {
			return nil, fmt.Errorf("object %d of the bundle: %w", i+1, err)
		}
	}
	return img, nil
}

func appendObject(img v1.Image, meta metav1.PartialObjectMetadata, object []byte) (v1.Image, error) {
	layer, err := newLayer(func(w io.Writer) error { return writeSingle(w, meta.Name, object) })
	if err != nil {
		return nil, err
	}
	return mutate.Append(img, mutate.Addendum{Layer: layer, Annotations: map[string]string{
		"dev.tekton.image.apiVersion": meta.APIVersion,
		"dev.tekton.image.kind":       strings.ToLower(meta.Kind),
		"dev.tekton.image.name":       meta.Name,
	}})
}

// bundled reads what identifies an object, and refuses what no resolver of
// Tekton could return.
func bundled(object []byte) (metav1.PartialObjectMetadata, error) {
	var meta metav1.PartialObjectMetadata
	if err := yaml.Unmarshal(object, &meta); err != nil {
		return meta, fmt.Errorf("reading YAML: %w", err)
	}
	switch {
	case !strings.HasPrefix(meta.APIVersion, "tekton.dev/"):
		return meta, fmt.Errorf("apiVersion is %q, not one of tekton.dev", meta.APIVersion)
	case meta.Kind == "":
		return meta, fmt.Errorf("kind is missing")
	case meta.Name == "":
		return meta, fmt.Errorf("%s has no metadata.name", meta.Kind)
	}
	return meta, nil
}

// writeSingle writes a tar archive of one file.
func writeSingle(w io.Writer, name string, content []byte) error {
	tw := tar.NewWriter(w)
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content)), Format: tar.FormatPAX}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if _, err := tw.Write(content); err != nil {
		return err
	}
	return tw.Close()
}
