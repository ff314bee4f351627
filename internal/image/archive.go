package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Save writes an OCI archive of the image to the file at path, as `ctr images
// import` reads it: in the node the image is called ref and keeps its digest.
// The file is written aside and renamed, so that it is whole or not there.
func Save(path, ref string, img v1.Image) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".image-*")
	if err != nil {
		return fmt.Errorf("saving image %s: %w", ref, err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := writeArchive(f, ref, img); err != nil {
		return fmt.Errorf("saving image %s to %s: %w", ref, path, err)
	}
	if err := f.Chmod(0o644); err != nil {
		return fmt.Errorf("saving image %s: %w", ref, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("saving image %s: %w", ref, err)
	}
	return os.Rename(f.Name(), path)
}

func writeArchive(w io.Writer, ref string, img v1.Image) error {
	index, err := archiveIndex(ref, img)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	layout := []byte(`{"imageLayoutVersion":"1.0.0"}`)
	if err := writeBlob(tw, "oci-layout", int64(len(layout)), bytes.NewReader(layout)); err != nil {
		return err
	}
	if err := writeBlob(tw, "index.json", int64(len(index)), bytes.NewReader(index)); err != nil {
		return err
	}
	if err := writeBlobs(tw, img); err != nil {
		return err
	}
	return tw.Close()
}

// archiveIndex lists the one image of the archive, with the name containerd
// gives it.
func archiveIndex(ref string, img v1.Image) ([]byte, error) {
	manifest, err := img.RawManifest()
	if err != nil {
		return nil, err
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Manifests: []v1.Descriptor{{
			MediaType:   types.OCIManifestSchema1,
			Size:        int64(len(manifest)),
			Digest:      digest,
			Annotations: map[string]string{"io.containerd.image.name": ref},
		}},
	})
}

func writeBlobs(tw *tar.Writer, img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		if err := writeLayer(tw, layer); err != nil {
			return err
		}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	manifest, err := img.RawManifest()
	if err != nil {
		return err
	}
	for _, blob := range [][]byte{config, manifest} {
		digest, size, err := v1.SHA256(bytes.NewReader(blob))
		if err != nil {
			return err
		}
		if err := writeBlob(tw, blobPath(digest), size, bytes.NewReader(blob)); err != nil {
			return err
		}
	}
	return nil
}

func writeLayer(tw *tar.Writer, layer v1.Layer) error {
	digest, err := layer.Digest()
	if err != nil {
		return err
	}
	size, err := layer.Size()
	if err != nil {
		return err
	}
	content, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer content.Close()
	return writeBlob(tw, blobPath(digest), size, content)
}

func writeBlob(tw *tar.Writer, name string, size int64, content io.Reader) error {
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size, Format: tar.FormatPAX}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(tw, content)
	return err
}

func blobPath(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }
