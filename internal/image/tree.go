package image

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// Tree is the file system of an image: what lies at which path, and where its
// content is read from when the layer is written. Everything belongs to root
// unless it is said otherwise, and carries no time.
type Tree struct {
	entries map[string]entry
	links   map[string]string // directories that are links, as /bin to usr/bin
}

// entry is one file, directory or link of a Tree.
type entry struct {
	mode   fs.FileMode // permission bits and the sticky bit
	kind   byte        // tar.TypeReg, tar.TypeDir or tar.TypeSymlink
	uid    int         // owner, and group, of a directory
	source string      // file on this machine; empty: text is the content
	text   string      // content, or the target of a link
	size   int64       // bytes of content
}

// NewTree returns an empty file system.
func NewTree() *Tree {
	return &Tree{entries: map[string]entry{}, links: map[string]string{}}
}

// File puts the content of the file source at dest, executable when source is.
// The content is read when the layer is; a file that changes in between fails
// the layer.
func (t *Tree) File(dest, source string) error {
	info, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("image file %s: %w", dest, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("image file %s: %s is no regular file", dest, source)
	}
	mode := fs.FileMode(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	t.put(dest, entry{mode: mode, kind: tar.TypeReg, source: source, size: info.Size()})
	return nil
}

// Text puts a file with the given content and permissions at dest.
func (t *Tree) Text(dest, content string, mode fs.FileMode) {
	t.put(dest, entry{mode: mode, kind: tar.TypeReg, text: content, size: int64(len(content))})
}

// Link puts a symbolic link to target at dest.
func (t *Tree) Link(dest, target string) {
	t.put(dest, entry{mode: 0o777, kind: tar.TypeSymlink, text: target})
}

// Dir puts a directory at dest, owned by the user and group uid.
func (t *Tree) Dir(dest string, mode fs.FileMode, uid int) {
	t.put(dest, entry{mode: mode, kind: tar.TypeDir, uid: uid})
}

// DirLink makes the directory dest a link to target, as Debian has /bin in
// /usr/bin: what is put below dest from now on lies below target.
func (t *Tree) DirLink(dest, target string) {
	t.Link(dest, target)
	t.links[clean(dest)] = clean(path.Join(path.Dir("/"+clean(dest)), target))
}

// Has tells whether something lies at dest.
func (t *Tree) Has(dest string) bool {
	_, ok := t.entries[t.resolve(dest)]
	return ok
}

// Paths returns every path of the tree without its leading slash, sorted: a
// directory comes before what it holds.
func (t *Tree) Paths() []string {
	return slices.Sorted(maps.Keys(t.entries))
}

func (t *Tree) put(dest string, e entry) {
	dest = t.resolve(dest)
	for dir := path.Dir(dest); dir != "."; dir = path.Dir(dir) {
		if _, ok := t.entries[dir]; !ok {
			t.entries[dir] = entry{mode: 0o755, kind: tar.TypeDir}
		}
	}
	t.entries[dest] = e
}

// resolve follows the directory links on the way to dest.
func (t *Tree) resolve(dest string) string {
	dest = clean(dest)
	first, rest, below := strings.Cut(dest, "/")
	if target, ok := t.links[first]; ok && below {
		return path.Join(target, rest)
	}
	return dest
}

func clean(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// write streams the tree as a tar archive.
func (t *Tree) write(w io.Writer) error {
	tw := tar.NewWriter(w)
	for _, name := range t.Paths() {
		if err := t.entries[name].write(tw, name); err != nil {
			return fmt.Errorf("writing /%s: %w", name, err)
		}
	}
	return tw.Close()
}

func (e entry) write(tw *tar.Writer, name string) error {
	h := &tar.Header{Name: name, Typeflag: e.kind, Mode: tarMode(e.mode), Uid: e.uid, Gid: e.uid, Format: tar.FormatPAX}
	switch e.kind {
	case tar.TypeDir:
		h.Name += "/"
		return tw.WriteHeader(h)
	case tar.TypeSymlink:
		h.Linkname = e.text
		return tw.WriteHeader(h)
	}
	h.Size = e.size
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if e.source == "" {
		_, err := io.WriteString(tw, e.text)
		return err
	}
	return copyWhole(tw, e.source, e.size)
}

// copyWhole copies a file of the size it had when it was put into the tree.
func copyWhole(w io.Writer, source string, size int64) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(w, f)
	if err != nil {
		return err
	}
	if n != size {
		return fmt.Errorf("%s changed from %d to %d bytes while it was read", source, size, n)
	}
	return nil
}

func tarMode(m fs.FileMode) int64 {
	mode := int64(m.Perm())
	if m&fs.ModeSticky != 0 {
		mode |= 0o1000
	}
	return mode
}
