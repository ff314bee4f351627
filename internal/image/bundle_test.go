package image

import (
	"archive/tar"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const pipeline = `apiVersion: tekton.dev/v1
kind: Pipeline
metadata:
  name: workflow
spec:
  tasks: []
`

func TestBundleIsWhatTektonReads(t *testing.T) {
	img, err := Bundle([]byte(pipeline))
	if err != nil {
		t.Fatal(err)
	}
	checkLayers(t, img)
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"dev.tekton.image.apiVersion": "tekton.dev/v1",
		"dev.tekton.image.kind":       "pipeline",
		"dev.tekton.image.name":       "workflow",
	}
	if diff := cmp.Diff(want, manifest.Layers[0].Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	eachEntry(t, layers[0], func(h *tar.Header, r io.Reader) {
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Name != "workflow" || string(got) != pipeline {
			t.Errorf("layer holds %s:\n%s", h.Name, got)
		}
	})
}

func TestBundleRefusesWhatCannotBeResolved(t *testing.T) {
	for _, c := range []struct{ name, object, want string }{
		{"no object", "", "at least one"},
		{"core object", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n", `apiVersion is "v1"`},
		{"no kind", "apiVersion: tekton.dev/v1\nmetadata: {name: a}\n", "kind is missing"},
		{"no name", "apiVersion: tekton.dev/v1\nkind: Task\n", "Task has no metadata.name"},
		{"no YAML", "{", "reading YAML"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var objects [][]byte
			if c.object != "" {
				objects = append(objects, []byte(c.object))
			}
			if _, err := Bundle(objects...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := Bundle([]byte(pipeline), []byte(pipeline)); err == nil || !strings.Contains(err.Error(), "a second Pipeline named") {
		t.Errorf("two objects of one name: got error %v", err)
	}
}
