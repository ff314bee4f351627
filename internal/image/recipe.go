package image

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"kubernaut.ai/kubernaut/internal/build"
)

// Recipe says what an image holds and how it starts. It is data: two equal
// recipes over the same programs and packages make the same image.
type Recipe struct {
	Name     string    // of the image, last part of its reference
	Programs []Program // built from the checkout
	Packages []Package // of Debian, as installed on this machine
	Files    []string  // of this machine, at the same path in the image
	Copies   []Copy    // of this machine, at another path
	Texts    []Text
	Folders  []Folder
	Shell    bool   // busybox as /bin/sh and as every command it knows
	User     string // name of the user Config.User, where a program asks for it
	Config   Config

	// Repository, when set, is where the image is pushed in the environment's
	// registry, instead of being loaded into the node.
	Repository string
}

// Program is a Go program and its path in the image.
type Program struct {
	build.Program
	Path string
}

// Copy is a file of this machine and its path in the image.
type Copy struct{ Source, Path string }

// Text is a small file with its content.
type Text struct {
	Path, Content string
	Mode          fs.FileMode
}

// Folder is an empty directory that belongs to the image's user.
type Folder struct{ Path string }

// Builder compiles programs; build.Cache is one.
type Builder interface {
	Build(ctx context.Context, p build.Program, say func(note string)) (path string, err error)
}

// FromProgram is the recipe of an image that holds one program and nothing
// else: no shell, no libraries.
func FromProgram(name, file string, p build.Program) Recipe {
	return Recipe{
		Name:     name,
		Programs: []Program{{Program: p, Path: file}},
		Config:   Config{Entrypoint: []string{file}, User: NonRoot},
	}
}

// FromPackages is the recipe of an image of Debian packages with a shell.
func FromPackages(name string, c Config, packages ...Package) Recipe {
	return Recipe{Name: name, Packages: packages, Shell: true, Config: c}
}

// programs builds what the recipe needs and returns the paths, in its order.
func (r Recipe) programs(ctx context.Context, b Builder, say func(string)) ([]string, error) {
	paths := make([]string, 0, len(r.Programs))
	for _, p := range r.Programs {
		built, err := b.Build(ctx, p.Program, say)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", r.Name, err)
		}
		paths = append(paths, built)
	}
	return paths, nil
}

// assemble makes the image; built are the paths of its programs.
func (r Recipe) assemble(built []string) (v1.Image, error) {
	tree := NewTree()
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		tree.Dir("/usr/"+dir, 0o755, 0)
		tree.DirLink("/"+dir, "usr/"+dir)
	}
	tree.Dir("/tmp", 0o777|fs.ModeSticky, 0)
	r.accounts(tree)
	for _, fill := range []func(*Tree) error{r.addFiles, r.addPackages, r.addShell, (*Tree).addLibraries} {
		if err := fill(tree); err != nil {
			return nil, fmt.Errorf("image %s: %w", r.Name, err)
		}
	}
	for i, p := range r.Programs {
		if err := tree.File(p.Path, built[i]); err != nil {
			return nil, fmt.Errorf("image %s: %w", r.Name, err)
		}
	}
	img, err := Assemble(tree, r.Config)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", r.Name, err)
	}
	return img, nil
}

// accounts writes the files in which programs look up users and hosts.
func (r Recipe) accounts(tree *Tree) {
	user := r.User
	if user == "" {
		user = "nonroot"
	}
	id := r.Config.User
	tree.Text("/etc/passwd", fmt.Sprintf("root:x:0:0:root:/:/sbin/nologin\n%s:x:%d:%d::/tmp:/sbin/nologin\n", user, id, id), 0o644)
	tree.Text("/etc/group", fmt.Sprintf("root:x:0:\n%s:x:%d:\n", user, id), 0o644)
	tree.Text("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n", 0o644)
}

func (r Recipe) addFiles(tree *Tree) error {
	for _, file := range r.Files {
		if err := tree.File(file, file); err != nil {
			return err
		}
	}
	for _, c := range r.Copies {
		if err := tree.File(c.Path, c.Source); err != nil {
			return err
		}
	}
	for _, text := range r.Texts {
		tree.Text(text.Path, text.Content, text.Mode)
	}
	for _, folder := range r.Folders {
		tree.Dir(folder.Path, 0o750, r.Config.User)
	}
	return nil
}

func (r Recipe) addPackages(tree *Tree) error {
	for _, p := range r.Packages {
		if err := tree.addPackage(p); err != nil {
			return err
		}
	}
	return nil
}

// busybox is one static file that is a shell and some hundred commands.
var busybox = Package{Name: "busybox-static", Keep: []string{"/bin/busybox", "/usr/bin/busybox"}}

// addShell puts busybox into the tree, under the names of its commands where
// nothing else has them.
func (r Recipe) addShell(tree *Tree) error {
	if !r.Shell {
		return nil
	}
	if err := tree.addPackage(busybox); err != nil {
		return err
	}
	names, err := exec.Command("busybox", "--list").Output()
	if err != nil {
		return fmt.Errorf("asking busybox for its commands: %w", err)
	}
	for _, name := range strings.Fields(string(names)) {
		if command := path.Join("/bin", name); !tree.Has(command) {
			tree.Link(command, "busybox")
		}
	}
	return nil
}

// stamps tells the state of the files of this machine that the recipe names.
func (r Recipe) stamps() ([]string, error) {
	files := slices.Clone(r.Files)
	for _, c := range r.Copies {
		files = append(files, c.Source)
	}
	var stamps []string
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", r.Name, err)
		}
		stamps = append(stamps, fmt.Sprintf("%s %d %d", file, info.Size(), info.ModTime().UnixNano()))
	}
	return stamps, nil
}
