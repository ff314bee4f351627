package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// inputs says where the sources of a program are, as far as they belong to its
// own module; the rest is named by go.sum. Folders are relative to the module.
type inputs struct {
	Packages []string // folders of packages: their Go and assembly files count
	Whole    []string // folders of packages that embed files beside them: every file counts
	Trees    []string // folders that are embedded: every file below counts
}

// listing is what `go list` found out about a program.
type listing struct {
	inputs inputs
	stale  int // packages that Go's own cache does not hold
}

// key is the digest of all a program is made of: its sources, go.mod, go.sum,
// the flags and the Go release.
func (c Cache) key(p Program, in inputs) (string, error) {
	env, err := toolchain(c.moduleDir(p))
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%q %q %q %q\n", p.Package, arguments(p), env, in)
	dir := c.moduleDir(p)
	files, err := in.files(dir)
	if err != nil {
		return "", fmt.Errorf("reading sources: %w", err)
	}
	files = append(files, filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum"))
	slices.Sort(files)
	for _, file := range slices.Compact(files) {
		if err := addFile(sum, dir, file); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

func addFile(sum hash.Hash, dir, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading sources: %w", err)
	}
	name, err := filepath.Rel(dir, path)
	if err != nil {
		return fmt.Errorf("reading sources: %w", err)
	}
	fmt.Fprintf(sum, "%q %d\n", name, len(content))
	_, err = sum.Write(content)
	return err
}

// files lists what is there now, so that a file that was added counts too.
func (in inputs) files(module string) ([]string, error) {
	var files []string
	for _, pkg := range in.Packages {
		entries, err := os.ReadDir(filepath.Join(module, pkg))
		if err != nil {
			return nil, err
		}
		whole := slices.Contains(in.Whole, pkg)
		for _, e := range entries {
			if e.Type().IsRegular() && (isSource(e.Name()) || whole && !isTest(e.Name())) {
				files = append(files, filepath.Join(module, pkg, e.Name()))
			}
		}
	}
	for _, tree := range in.Trees {
		err := filepath.WalkDir(filepath.Join(module, tree), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

func isSource(name string) bool {
	switch filepath.Ext(name) {
	case ".go":
		return !isTest(name)
	case ".s", ".h":
		return true
	}
	return false
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

// list asks Go which packages p is made of and which of them it must compile.
func (c Cache) list(ctx context.Context, p Program, say func(string)) (listing, error) {
	const format = `{{.Stale}}{{"\t"}}{{if .Module}}{{if .Module.Main}}{{.Dir}}{{end}}{{end}}{{range .EmbedFiles}}{{"\t"}}{{.}}{{end}}`
	cmd := c.goCommand(ctx, p, "list", "-deps", "-trimpath", "-f", format, p.Package)
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := runGo(ctx, cmd, newMeter(0, timing{}).follow(say)); err != nil {
		return listing{}, err
	}
	var found listing
	for line := range strings.Lines(out.String()) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if fields[0] == "true" {
			found.stale++
		}
		if dir := fields[1]; dir != "" {
			if err := found.inputs.add(c.moduleDir(p), dir, fields[2:]); err != nil {
				return listing{}, err
			}
		}
	}
	found.inputs.sort()
	return found, nil
}

// add notes one package of the module and what it embeds.
func (in *inputs) add(module, dir string, embedded []string) error {
	pkg, err := filepath.Rel(module, dir)
	if err != nil {
		return fmt.Errorf("reading sources: %w", err)
	}
	in.Packages = append(in.Packages, pkg)
	for _, file := range embedded {
		if top, _, below := strings.Cut(file, "/"); below {
			in.Trees = append(in.Trees, filepath.Join(pkg, top))
		} else {
			in.Whole = append(in.Whole, pkg)
		}
	}
	return nil
}

func (in *inputs) sort() {
	for _, folders := range []*[]string{&in.Packages, &in.Whole, &in.Trees} {
		slices.Sort(*folders)
		*folders = slices.Compact(*folders)
	}
}

// remembered returns the inputs that the last `go list` in this checkout found.
// They are right as long as the key made from them names a stored program.
func (c Cache) remembered(p Program) (in inputs, err error) {
	raw, err := os.ReadFile(c.inputsFile(p))
	if err != nil {
		return in, err
	}
	return in, json.Unmarshal(raw, &in)
}

func (c Cache) remember(p Program, in inputs) error {
	return writeJSON(c.inputsFile(p), in)
}

// inputsFile is one for each checkout: several may share a cache.
func (c Cache) inputsFile(p Program) string {
	sum := sha256.Sum256([]byte(c.Source))
	return filepath.Join(c.folder(p), fmt.Sprintf("inputs-%x.json", sum[:6]))
}

func (c Cache) moduleDir(p Program) string { return filepath.Join(c.Source, p.Module) }

var toolchains sync.Map // module folder → what `go env` says of it

// toolchain is the Go release and target that builds in dir use. It is asked
// for once in a process.
func toolchain(dir string) (string, error) {
	if known, ok := toolchains.Load(dir); ok {
		return known.(string), nil
	}
	cmd := exec.Command("go", "env", "GOVERSION", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT", "GOFIPS140")
	cmd.Dir, cmd.Env = dir, environment()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("asking for the Go release: %w: %s; install Go (https://go.dev/dl/) and put it on PATH", err, strings.TrimSpace(stderr.String()))
	}
	toolchains.Store(dir, string(out))
	return string(out), nil
}

// checksum is the SHA-256 of a file, in hex.
func checksum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // only read
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
