package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"kubernaut.ai/kubernaut/internal/build"
)

// contents builds each program under a path that changes with its content, as
// the cache of programs does.
type contents struct {
	dir  string
	text map[string]string
}

func (c contents) Build(_ context.Context, p build.Program, _ func(string)) (string, error) {
	text, ok := c.text[p.Name]
	if !ok {
		return "", fmt.Errorf("no program %s", p.Name)
	}
	path := filepath.Join(c.dir, p.Name+"-"+text)
	return path, os.WriteFile(path, []byte(text), 0o755)
}

var helloImage = FromProgram("hello", "/hello", build.Program{Name: "hello"})

func newStore(t *testing.T) (Store, contents) {
	t.Helper()
	programs := contents{dir: t.TempDir(), text: map[string]string{"hello": "one"}}
	return Store{Dir: t.TempDir(), Programs: programs}, programs
}

// archive returns the archive of the recipe and whether it had to be made.
func archive(t *testing.T, s Store, r Recipe) (a Archive, made bool) {
	t.Helper()
	a, err := s.Archive(t.Context(), r, func(string) { made = true })
	if err != nil {
		t.Fatal(err)
	}
	return a, made
}

func TestArchiveIsMadeOnce(t *testing.T) {
	s, programs := newStore(t)
	first, made := archive(t, s, helloImage)
	if !made {
		t.Error("an empty store had the image")
	}
	second, made := archive(t, s, helloImage)
	if made || second.Reference != first.Reference || second.Path != first.Path {
		t.Errorf("second time: made=%v, %+v; first %+v", made, second, first)
	}
	if !strings.HasPrefix(first.Reference, "kubernaut.local/hello:") {
		t.Errorf("the image is called %s", first.Reference)
	}
	programs.text["hello"] = "two"
	third, made := archive(t, s, helloImage)
	if !made || third.Reference == first.Reference {
		t.Errorf("a changed program: made=%v, %s, before %s", made, third.Reference, first.Reference)
	}
	other := helloImage
	other.Config.Command = []string{"loudly"}
	fourth, made := archive(t, s, other)
	if !made || fourth.Reference == third.Reference {
		t.Errorf("a changed recipe: made=%v, %s, before %s", made, fourth.Reference, third.Reference)
	}
}

func TestDamagedArchiveIsMadeAgain(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"cut short": func(path string) error { return os.Truncate(path, 100) },
		"gone":      os.Remove,
		"changed": func(path string) error {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("X"), 700)
			return errors.Join(err, f.Close(), os.Chtimes(path, time.Now(), time.Now().Add(time.Second)))
		},
		"record cut short": func(path string) error { return os.Truncate(recordOf(path), 5) },
		"record gone":      func(path string) error { return os.Remove(recordOf(path)) },
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t)
			first, _ := archive(t, s, helloImage)
			if err := damage(first.Path); err != nil {
				t.Fatal(err)
			}
			second, made := archive(t, s, helloImage)
			if !made || second.Sum != first.Sum {
				t.Errorf("made=%v, sum %s, want the first one's %s", made, second.Sum, first.Sum)
			}
		})
	}
}

func TestTouchedArchiveIsStillWhole(t *testing.T) {
	s, _ := newStore(t)
	first, _ := archive(t, s, helloImage)
	if err := os.Chtimes(first.Path, time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, made := archive(t, s, helloImage); made {
		t.Error("an archive with a new time and the same content was made again")
	}
}

func TestOldArchivesGo(t *testing.T) {
	s, programs := newStore(t)
	var last Archive
	for i := range kept + 2 {
		programs.text["hello"] = fmt.Sprint(i)
		last, _ = archive(t, s, helloImage)
	}
	left, err := filepath.Glob(filepath.Join(s.Dir, "hello", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 2*kept {
		t.Errorf("%d archives leave %q, want %d archives and their records", kept+2, left, kept)
	}
	if _, ok := lookup(last.Path); !ok {
		t.Error("the newest archive is not among them")
	}
}

// TestArchiveIsWhatContainerdImports reads the archive as an OCI layout: one
// image under its name, and every blob it refers to.
func TestArchiveIsWhatContainerdImports(t *testing.T) {
	s, _ := newStore(t)
	a, _ := archive(t, s, helloImage)
	files := archiveFiles(t, a.Path)
	var index v1.IndexManifest
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"io.containerd.image.name": a.Reference}
	if diff := cmp.Diff(want, index.Manifests[0].Annotations); diff != "" {
		t.Errorf("name (-want +got):\n%s", diff)
	}
	var manifest v1.Manifest
	if err := json.Unmarshal(files[blobPath(index.Manifests[0].Digest)], &manifest); err != nil {
		t.Fatalf("the manifest: %v", err)
	}
	for _, blob := range append(manifest.Layers, manifest.Config) {
		if got := int64(len(files[blobPath(blob.Digest)])); got != blob.Size {
			t.Errorf("%s %s has %d bytes, want %d", blob.MediaType, blob.Digest, got, blob.Size)
		}
	}
}

func archiveFiles(t *testing.T, path string) map[string][]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files := map[string][]byte{}
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMissingPackageNamesTheNextStep(t *testing.T) {
	r := FromPackages("none", Config{User: NonRoot}, Package{Name: "no-such-package", Keep: []string{"/"}})
	_, err := Store{Dir: t.TempDir()}.Archive(t.Context(), r, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "apt-get install -y --no-install-recommends no-such-package") {
		t.Errorf("got %v", err)
	}
}
