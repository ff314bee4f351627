package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"kubernaut.ai/kubernaut/internal/datastorage"
)

const fuzzPipeline = `spec: {params: [{name: A}, {name: B, type: array, default: [x]}, {name: C, default: 0x10}, {name: D, default: null}]}`

// FuzzFile reads any bytes as a layer of a bundle: what is found in it is never more
// than one Pipeline may have.
func FuzzFile(f *testing.F) {
	var whole bytes.Buffer
	archive := tar.NewWriter(&whole)
	_ = archive.WriteHeader(&tar.Header{Name: "pipeline", Mode: 0o600, Size: int64(len(fuzzPipeline))})
	_, _ = archive.Write([]byte(fuzzPipeline))
	_ = archive.Close()
	f.Add(whole.Bytes())
	f.Add(whole.Bytes()[:600])
	f.Add([]byte("no archive"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		layer := static.NewLayer(raw, types.OCIUncompressedLayer)
		img, err := mutate.AppendLayers(empty.Image, layer)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := layer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if found, err := file(img, digest); err == nil && (len(found) > maxObject+1 || len(found) > len(raw)+maxObject) {
			t.Errorf("%d bytes are found in a layer of %d", len(found), len(raw))
		}
	})
}

// FuzzParameters reads any bytes as a Pipeline: they have parameters, or the author is
// told what is wrong.
func FuzzParameters(f *testing.F) {
	for _, seed := range []string{fuzzPipeline, "", "{", "spec: 5", "spec: {params: [5]}", "spec: {params: [{name: {}}]}", "a: &a [*a]", "spec: {params: [{default: {b: [1e999]}}]}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, pipeline []byte) {
		_, err := contents{pipeline: pipeline}.parameters("registry/heal:1")
		if _, told := errors.AsType[*datastorage.UnverifiedError](err); err != nil && !told {
			t.Errorf("%q: %v", pipeline, err)
		}
	})
}
