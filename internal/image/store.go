package image

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// format is part of every key: raise it when the same recipe makes another image.
const format = 1

// kept is how many archives of one image stay in the store, the newest first.
const kept = 3

// Store keeps the archives of images in a folder, each under the digest of
// what it was made from.
type Store struct {
	Dir      string
	Programs Builder
}

// Archive is an image in a file that a node can import.
type Archive struct {
	Reference string    `json:"reference"` // what a node calls the image
	Digest    v1.Hash   `json:"digest"`    // of the image's manifest
	Size      int64     `json:"size"`      // bytes of the file
	Sum       string    `json:"sum"`       // SHA-256 of the file
	Modified  time.Time `json:"modified"`  // of the file
	Path      string    `json:"-"`
}

// Archive returns the image of the recipe as a file. It builds programs and
// image unless the store holds the image whole and made from the same input;
// then it takes milliseconds. say is told what is done.
func (s Store) Archive(ctx context.Context, r Recipe, say func(note string)) (Archive, error) {
	built, err := r.programs(ctx, s.Programs, say)
	if err != nil {
		return Archive{}, err
	}
	key, err := r.key(built)
	if err != nil {
		return Archive{}, err
	}
	path := filepath.Join(s.Dir, r.Name, key+".tar")
	if a, ok := lookup(path); ok {
		return a, nil
	}
	say("putting image " + r.Name + " together")
	img, err := r.assemble(built)
	if err != nil {
		return Archive{}, err
	}
	if err := ctx.Err(); err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", r.Name, err)
	}
	a, err := save(path, r.Name, img)
	if err != nil {
		return Archive{}, err
	}
	return a, prune(filepath.Dir(path))
}

// Image returns the image of the recipe, for Push. It builds the programs
// that are not in their cache, and keeps nothing itself.
func (s Store) Image(ctx context.Context, r Recipe, say func(note string)) (v1.Image, error) {
	built, err := r.programs(ctx, s.Programs, say)
	if err != nil {
		return nil, err
	}
	return r.assemble(built)
}

// key is the digest of all that the image is made from.
func (r Recipe) key(built []string) (string, error) {
	stamps, err := r.stamps()
	if err != nil {
		return "", err
	}
	packages := ""
	if r.Shell || len(r.Packages) > 0 {
		if packages, err = installed(); err != nil {
			return "", err
		}
	}
	input, err := json.Marshal(map[string]any{
		"format": format, "arch": runtime.GOARCH, "recipe": r, "programs": built, "files": stamps, "packages": packages,
	})
	if err != nil {
		return "", fmt.Errorf("image %s: %w", r.Name, err)
	}
	return fmt.Sprintf("%.12x", sha256.Sum256(input)), nil
}

// save writes the archive and, after it, the record by which it counts.
func save(path, name string, img v1.Image) (Archive, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", name, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", name, err)
	}
	a := Archive{Reference: reference(name, digest), Digest: digest, Path: path}
	if err := Save(path, a.Reference, img); err != nil {
		return Archive{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", name, err)
	}
	a.Size, a.Modified = info.Size(), info.ModTime()
	if a.Sum, err = fileSum(path); err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", name, err)
	}
	return a, a.record()
}

func (a Archive) record() error {
	raw, err := json.Marshal(a)
	if err != nil {
		return err
	}
	aside := a.Path + ".unfinished"
	if err := os.WriteFile(aside, raw, 0o644); err != nil {
		return fmt.Errorf("image %s: %w", a.Reference, err)
	}
	return os.Rename(aside, recordOf(a.Path))
}

func recordOf(path string) string { return path + ".json" }

// lookup returns the archive at path when it is whole: as long as when it was
// written, and, where its time differs from then, with the same content.
func lookup(path string) (Archive, bool) {
	raw, err := os.ReadFile(recordOf(path))
	if err != nil {
		return Archive{}, false
	}
	a := Archive{Path: path}
	if json.Unmarshal(raw, &a) != nil {
		return Archive{}, false
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != a.Size {
		return Archive{}, false
	}
	if info.ModTime().Equal(a.Modified) {
		return a, true
	}
	sum, err := fileSum(path)
	return a, err == nil && sum == a.Sum
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), nil
}

// prune removes all archives of one image but the newest.
func prune(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.tar"))
	if err != nil {
		return err
	}
	modified := map[string]time.Time{}
	for _, path := range paths {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process was first
		}
		if err != nil {
			return fmt.Errorf("pruning images: %w", err)
		}
		modified[path] = info.ModTime()
	}
	slices.SortFunc(paths, func(a, b string) int {
		return cmp.Or(modified[b].Compare(modified[a]), cmp.Compare(a, b))
	})
	for _, path := range paths[min(kept, len(paths)):] {
		for _, old := range []string{recordOf(path), path} {
			if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("pruning images: %w", err)
			}
		}
	}
	return nil
}
