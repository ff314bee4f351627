package image

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// dpkg is where Debian keeps what is installed.
const dpkg = "/var/lib/dpkg"

// Package says which files of an installed Debian package go into an image.
type Package struct {
	Name string
	Keep []string // paths; one that ends in "/" stands for all below it
	Drop []string // of these, paths that stay out, in the same way
}

// addPackage puts the kept files of an installed package into the tree, at
// the paths they have on this machine.
func (t *Tree) addPackage(p Package) error {
	files, err := packageFiles(p.Name)
	if err != nil {
		return err
	}
	kept := 0
	for _, file := range files {
		if !covers(p.Keep, file) || covers(p.Drop, file) {
			continue
		}
		if _, err := t.addHostPath(file); err != nil {
			return fmt.Errorf("package %s: %w", p.Name, err)
		}
		kept++
	}
	if kept == 0 {
		return fmt.Errorf("package %s has none of %s", p.Name, strings.Join(p.Keep, ", "))
	}
	return nil
}

func covers(patterns []string, file string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		return file == p || strings.HasSuffix(p, "/") && strings.HasPrefix(file, p)
	})
}

// packageFiles lists what dpkg installed for a package.
func packageFiles(name string) ([]string, error) {
	for _, list := range []string{name + ".list", name + ":" + runtime.GOARCH + ".list"} {
		content, err := os.ReadFile(filepath.Join(dpkg, "info", list))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("package %s: %w", name, err)
		}
		return strings.Split(strings.TrimSpace(string(content)), "\n"), nil
	}
	return nil, fmt.Errorf("package %s is not installed: run `apt-get install -y --no-install-recommends %s`", name, name)
}

// installed is the digest of what is installed on this machine, every package
// with its version; empty where there is no dpkg.
func installed() (string, error) {
	status, err := os.ReadFile(filepath.Join(dpkg, "status"))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the installed packages: %w", err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(status)), nil
}

// addHostPath puts a file, a directory or a link of this machine into the
// tree at its own path; a link with all it leads to. It returns the regular
// files that were not there before.
func (t *Tree) addHostPath(file string) ([]string, error) {
	if t.Has(file) {
		return nil, nil
	}
	info, err := os.Lstat(file)
	if err != nil {
		return nil, err
	}
	switch {
	case info.IsDir():
		t.Dir(file, 0o755, 0)
		return nil, nil
	case info.Mode()&os.ModeSymlink == 0:
		return []string{file}, t.File(file, file)
	}
	target, err := os.Readlink(file)
	if err != nil {
		return nil, err
	}
	t.Link(file, target)
	if !path.IsAbs(target) {
		target = path.Join(path.Dir(file), target)
	}
	return t.addHostPath(target)
}

// sources lists the files of this machine that the tree takes content from.
func (t *Tree) sources() []string {
	var all []string
	for _, name := range t.Paths() {
		if source := t.entries[name].source; source != "" {
			all = append(all, source)
		}
	}
	return all
}
