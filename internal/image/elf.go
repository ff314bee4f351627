package image

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// object is what an ELF file says about the files it needs to run.
type object struct {
	machine elf.Machine
	loader  string   // the dynamic loader, empty in libraries and static programs
	needed  []string // names of shared libraries
	paths   []string // where it wants them looked for first, $ORIGIN resolved
}

// readObject reads the headers of an ELF file; ok is false for any other file.
func readObject(path string) (o object, ok bool, err error) {
	file, err := os.Open(path)
	if err != nil {
		return object{}, false, err
	}
	defer file.Close()
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := io.ReadFull(file, magic); err != nil || string(magic) != elf.ELFMAG {
		return object{}, false, nil
	}
	headers, err := elf.NewFile(file)
	if err != nil {
		return object{}, false, fmt.Errorf("reading %s: %w", path, err)
	}
	o, err = objectOf(headers, filepath.Dir(path))
	if err != nil {
		return object{}, false, fmt.Errorf("reading %s: %w", path, err)
	}
	return o, true, nil
}

func objectOf(headers *elf.File, dir string) (object, error) {
	o := object{machine: headers.Machine}
	for _, segment := range headers.Progs {
		if segment.Type != elf.PT_INTERP {
			continue
		}
		loader, err := io.ReadAll(segment.Open())
		if err != nil {
			return object{}, err
		}
		o.loader = string(bytes.TrimRight(loader, "\x00"))
	}
	var err error
	if o.needed, err = headers.ImportedLibraries(); err != nil {
		return object{}, err
	}
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		lists, err := headers.DynString(tag)
		if err != nil {
			return object{}, err
		}
		for _, list := range lists {
			o.paths = append(o.paths, strings.Split(os.Expand(list, origin(dir)), ":")...)
		}
	}
	return o, nil
}

// origin resolves the variables of a library path for a file in dir.
func origin(dir string) func(string) string {
	return func(variable string) string {
		if variable == "ORIGIN" {
			return dir
		}
		return "$" + variable
	}
}

// libraries finds shared libraries as this machine's dynamic loader does.
type libraries struct{ dirs []string }

// machineLibraries reads the folders of /etc/ld.so.conf.
func machineLibraries() (libraries, error) {
	dirs, err := loaderDirs("/etc/ld.so.conf")
	if err != nil {
		return libraries{}, fmt.Errorf("reading the dynamic loader's folders: %w", err)
	}
	return libraries{dirs: append(dirs, "/lib64", "/usr/lib64", "/lib", "/usr/lib")}, nil
}

func loaderDirs(conf string) ([]string, error) {
	content, err := os.ReadFile(conf)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var dirs []string
	for line := range strings.Lines(string(content)) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		pattern, include := strings.CutPrefix(line, "include ")
		if !include {
			if line != "" {
				dirs = append(dirs, line)
			}
			continue
		}
		files, err := filepath.Glob(strings.TrimSpace(pattern))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", conf, err)
		}
		for _, file := range files {
			more, err := loaderDirs(file)
			if err != nil {
				return nil, err
			}
			dirs = append(dirs, more...)
		}
	}
	return dirs, nil
}

// find returns the path of the library that the loader would take for o.
func (l libraries) find(name string, o object) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	dirs := slices.Concat(o.paths, l.dirs)
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		found, ok, err := readObject(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if ok && found.machine == o.machine {
			return path, nil
		}
	}
	return "", fmt.Errorf("shared library %s is in none of %s; install the package that has it", name, strings.Join(dirs, ", "))
}

// addLibraries puts the loaders and the shared libraries that the ELF files of
// the tree need, and those that these need, into the tree.
func (t *Tree) addLibraries() error {
	libs, err := machineLibraries()
	if err != nil {
		return err
	}
	queue := t.sources()
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		needed, err := libs.neededBy(path)
		if err != nil {
			return err
		}
		for _, library := range needed {
			added, err := t.addHostPath(library)
			if err != nil {
				return fmt.Errorf("%s needs %s: %w", path, library, err)
			}
			queue = append(queue, added...)
		}
	}
	return nil
}

// neededBy returns the files that the ELF file at path needs; none for others.
func (l libraries) neededBy(path string) ([]string, error) {
	o, ok, err := readObject(path)
	if err != nil || !ok {
		return nil, err
	}
	var needed []string
	if o.loader != "" {
		needed = append(needed, o.loader)
	}
	for _, name := range o.needed {
		found, err := l.find(name, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		needed = append(needed, found)
	}
	return needed, nil
}
