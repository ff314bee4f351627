package build

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var hello = Program{Name: "hello", Module: ".", Package: "./cmd/hello"}

// checkout writes a small module with one program, one package it uses and one
// embedded folder, and returns a cache over it.
func checkout(t *testing.T) Cache {
	t.Helper()
	if testing.Short() {
		t.Skip("compiles programs: run make test")
	}
	c := Cache{Dir: t.TempDir(), Source: t.TempDir()}
	write(t, c, "go.mod", "module "+module+"\n\ngo 1.26\n")
	write(t, c, "go.sum", "")
	write(t, c, "cmd/hello/main.go", `package main

import (
	"fmt"

	"kubernaut.ai/kubernaut/word"
)

func main() { fmt.Print(word.Hello()) }
`)
	write(t, c, "word/word.go", `package word

import "embed"

//go:embed text
var text embed.FS

func Hello() string {
	all, _ := text.ReadDir("text")
	word, _ := text.ReadFile("text/word")
	return string(word) + string(rune('0'+len(all)))
}
`)
	write(t, c, "word/text/word", "hello")
	return c
}

func write(t *testing.T, c Cache, name, content string) {
	t.Helper()
	path := filepath.Join(c.Source, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func build(t *testing.T, c Cache) string {
	t.Helper()
	path, err := c.Build(t.Context(), hello, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func output(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command(path).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestBuiltProgramIsFoundAgain(t *testing.T) {
	c := checkout(t)
	if _, ok := c.Lookup(hello); ok {
		t.Fatal("an empty cache holds a program")
	}
	path := build(t, c)
	if got := output(t, path); got != "hello1" {
		t.Errorf("the program prints %q", got)
	}
	if found, ok := c.Lookup(hello); !ok || found != path {
		t.Errorf("Lookup = %q, %v; want %q", found, ok, path)
	}
	again, err := c.Build(t.Context(), hello, func(note string) { t.Errorf("built again: %s", note) })
	if err != nil || again != path {
		t.Errorf("second Build = %q, %v; want %q", again, err, path)
	}
}

func TestChangedInputsAreNoticed(t *testing.T) {
	for name, change := range map[string]struct{ file, content, want string }{
		"a source":              {"word/word.go", "package word\n\nfunc Hello() string { return \"changed\" }\n", "changed"},
		"a file added":          {"word/more.go", "package word\n\nfunc init() { panic(\"added\") }\n", ""},
		"an embedded file":      {"word/text/word", "goodbye", "goodbye1"},
		"an embedded file more": {"word/text/another", "x", "hello2"},
		"a folder embedded":     {"word/text/below/file", "x", "hello2"},
	} {
		t.Run(name, func(t *testing.T) {
			c := checkout(t)
			before := build(t, c)
			write(t, c, change.file, change.content)
			if _, ok := c.Lookup(hello); ok {
				t.Error("a stale program was found")
			}
			after := build(t, c)
			if after == before {
				t.Fatal("the same file serves for other sources")
			}
			if change.want != "" && output(t, after) != change.want {
				t.Errorf("the program prints %q, want %q", output(t, after), change.want)
			}
		})
	}
}

func TestOtherFilesDoNotMatter(t *testing.T) {
	c := checkout(t)
	path := build(t, c)
	write(t, c, "word/word_test.go", "package word\n")
	write(t, c, "README.md", "hello\n")
	write(t, c, "cmd/other/main.go", "package main\n\nfunc main() {}\n")
	if found, ok := c.Lookup(hello); !ok || found != path {
		t.Errorf("Lookup = %q, %v; want %q", found, ok, path)
	}
}

func TestDamagedProgramIsBuiltAgain(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"cut short": func(path string) error { return os.Truncate(path, 1000) },
		"empty":     func(path string) error { return os.Truncate(path, 0) },
		"gone":      os.Remove,
		"one byte changed": func(path string) error {
			file, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			_, err = file.WriteAt([]byte("X"), 5000)
			return errors.Join(err, file.Close())
		},
		"record cut short": func(path string) error {
			return os.Truncate(filepath.Join(filepath.Dir(path), "record.json"), 10)
		},
		"inputs cut short": func(path string) error {
			found, err := filepath.Glob(filepath.Join(filepath.Dir(path), "..", "inputs-*.json"))
			return errors.Join(err, os.Truncate(found[0], 3))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := checkout(t)
			if err := damage(build(t, c)); err != nil {
				t.Fatal(err)
			}
			if path, ok := c.Lookup(hello); ok {
				t.Errorf("a damaged cache gave %s", path)
			}
			if got := output(t, build(t, c)); got != "hello1" {
				t.Errorf("the program prints %q", got)
			}
		})
	}
}

func TestTouchedProgramIsStillWhole(t *testing.T) {
	c := checkout(t)
	path := build(t, c)
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if found, ok := c.Lookup(hello); !ok || found != path {
		t.Errorf("Lookup = %q, %v; the content is the same, want %q", found, ok, path)
	}
}

func TestInterruptedBuildLeavesNothingThatCounts(t *testing.T) {
	c := checkout(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Build(ctx, hello, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the context's end", err)
	}
	half := filepath.Join(c.folder(hello), "unfinished-1")
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}
	build(t, c)
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the rest of an interrupted build is still there (%v)", err)
	}
}

func TestSeveralAtOnceBuildOnce(t *testing.T) {
	c := checkout(t)
	var mu sync.Mutex
	var built int
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			_, err := c.Build(t.Context(), hello, func(note string) {
				mu.Lock()
				defer mu.Unlock()
				if strings.HasPrefix(note, "built ") {
					built++
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if built != 1 {
		t.Errorf("%d builds, want 1", built)
	}
}

func TestCompileErrorIsTold(t *testing.T) {
	c := checkout(t)
	write(t, c, "word/word.go", "package word\n\nfunc Hello() string { return 1 }\n")
	_, err := c.Build(t.Context(), hello, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "word/word.go:3:") {
		t.Errorf("the error does not name file and line: %v", err)
	}
}

func TestOldBuildsArePruned(t *testing.T) {
	c := checkout(t)
	for _, word := range []string{"a", "b", "c", "d", "e", "f"} {
		write(t, c, "word/text/word", word)
		build(t, c)
	}
	left, err := filepath.Glob(filepath.Join(c.folder(hello), "*", "record.json"))
	if err != nil || len(left) != kept {
		t.Errorf("%d builds are kept (%v), want %d", len(left), err, kept)
	}
	if got := output(t, build(t, c)); got != "f1" {
		t.Errorf("the newest build prints %q", got)
	}
}

func TestCheckoutIsFoundFromBelow(t *testing.T) {
	c := checkout(t)
	below := filepath.Join(c.Source, "word", "text")
	if got, ok := checkoutAbove(below); !ok || got != c.Source {
		t.Errorf("checkoutAbove(%s) = %q, %v", below, got, ok)
	}
	write(t, c, "nested/go.mod", "module "+module+"/nested\n")
	if got, ok := checkoutAbove(filepath.Join(c.Source, "nested")); !ok || got != c.Source {
		t.Errorf("a nested module was taken for the checkout: %q, %v", got, ok)
	}
}

func TestNoteTellsHowFar(t *testing.T) {
	m := newMeter(3, timing{PerPackage: time.Second, Link: 5 * time.Second})
	for _, step := range []struct{ line, want string }{
		{"go: downloading k8s.io/api v0.37.2", "compiled 0 of about 3 packages; downloading k8s.io/api v0.37.2; 3s of about 8s"},
		{"k8s.io/api/core/v1", "compiled 0 of about 3 packages; now k8s.io/api/core/v1; 3s of about 8s"},
		{"k8s.io/kubernetes", "linking; 3s of about 8s"},
	} {
		m.line(step.line)
		if got := m.note(m.started.Add(3 * time.Second)); got != step.want {
			t.Errorf("after %q: %q, want %q", step.line, got, step.want)
		}
	}
}

func TestAssetsNeedKubernetes(t *testing.T) {
	_, err := Assets(Cache{Dir: t.TempDir(), Source: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "kubernaut env build") {
		t.Errorf("the error does not say what to do: %v", err)
	}
}

func TestLinksFollowTheProgram(t *testing.T) {
	dir := t.TempDir()
	for _, program := range []string{"/old", "/new", "/new"} {
		if err := Links(dir, program, "etcd"); err != nil {
			t.Fatal(err)
		}
		if to, err := os.Readlink(filepath.Join(dir, "etcd")); err != nil || to != program {
			t.Errorf("the link leads to %q (%v), want %s", to, err, program)
		}
	}
}
