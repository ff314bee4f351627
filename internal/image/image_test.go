package image

import (
	"archive/tar"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func sampleTree(t *testing.T, program string) *Tree {
	t.Helper()
	tree := NewTree()
	tree.DirLink("/bin", "usr/bin")
	if err := tree.File("/bin/tool", program); err != nil {
		t.Fatal(err)
	}
	tree.Text("/etc/passwd", "root:x:0:0:root:/:/bin/sh\n", 0o644)
	tree.Dir("/tmp", 0o777|os.ModeSticky, 0)
	tree.Dir("/data", 0o700, 999)
	tree.Link("/usr/bin/alias", "tool")
	return tree
}

func sampleProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustAssemble(t *testing.T, tree *Tree) v1.Image {
	t.Helper()
	img, err := Assemble(tree, Config{Entrypoint: []string{"/bin/tool"}, User: 999})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestSameInputSameDigest(t *testing.T) {
	program := sampleProgram(t)
	first := mustAssemble(t, sampleTree(t, program))
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(program, long, long); err != nil {
		t.Fatal(err)
	}
	second := mustAssemble(t, sampleTree(t, program))
	want, err := Reference("tool", first)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Reference("tool", second)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("the same files give %s and then %s", want, got)
	}
	checkLayers(t, second)
}

func TestOtherContentOtherReference(t *testing.T) {
	program := sampleProgram(t)
	tree, changed := sampleTree(t, program), sampleTree(t, program)
	changed.Text("/etc/passwd", "root:x:0:0:root:/:/bin/no\n", 0o644)
	a, err := Reference("tool", mustAssemble(t, tree))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Reference("tool", mustAssemble(t, changed))
	if err != nil {
		t.Fatal(err)
	}
	if a == b {
		t.Errorf("two contents are both called %s", a)
	}
}

func TestLayerHoldsWhatTheTreeSays(t *testing.T) {
	layers, err := mustAssemble(t, sampleTree(t, sampleProgram(t))).Layers()
	if err != nil {
		t.Fatal(err)
	}
	type file struct {
		Name, Link string
		Mode       int64
		UID        int
	}
	want := []file{
		{Name: "bin", Link: "usr/bin", Mode: 0o777},
		{Name: "data/", Mode: 0o700, UID: 999},
		{Name: "etc/", Mode: 0o755},
		{Name: "etc/passwd", Mode: 0o644},
		{Name: "tmp/", Mode: 0o1777},
		{Name: "usr/", Mode: 0o755},
		{Name: "usr/bin/", Mode: 0o755},
		{Name: "usr/bin/alias", Link: "tool", Mode: 0o777},
		{Name: "usr/bin/tool", Mode: 0o755},
	}
	var got []file
	eachEntry(t, layers[0], func(h *tar.Header, _ io.Reader) {
		got = append(got, file{Name: h.Name, Link: h.Linkname, Mode: h.Mode, UID: h.Uid})
		if h.ModTime.Unix() != 0 {
			t.Errorf("%s carries the time %s", h.Name, h.ModTime)
		}
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("layer (-want +got):\n%s", diff)
	}
}

// checkLayers reads every layer and compares it with what the image says of it.
func checkLayers(t *testing.T, img v1.Image) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for i, layer := range layers {
		content, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		digest, size, err := v1.SHA256(content)
		if err != nil {
			t.Fatal(err)
		}
		wantDigest, _ := layer.DiffID()
		wantSize, _ := layer.Size()
		if digest != wantDigest || size != wantSize {
			t.Errorf("layer %d is %s of %d bytes, not %s of %d bytes", i, digest, size, wantDigest, wantSize)
		}
	}
}

func eachEntry(t *testing.T, layer v1.Layer, visit func(*tar.Header, io.Reader)) {
	t.Helper()
	content, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	for tr := tar.NewReader(content); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		visit(h, tr)
	}
}

func TestFileThatShrinksFailsTheImage(t *testing.T) {
	program := sampleProgram(t)
	tree := sampleTree(t, program)
	if err := os.Truncate(program, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := Assemble(tree, Config{}); err == nil {
		t.Error("a file that was cut short after it was listed made an image")
	}
}
