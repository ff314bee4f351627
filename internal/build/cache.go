package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/lockfile"
)

// Cache is where built programs are kept, and the checkout they are built from.
type Cache struct {
	Dir    string // Kubernaut's cache folder; programs are below Dir/programs
	Source string // the folder of our go.mod
}

// module is how the checkout is recognised.
const module = "kubernaut.ai/kubernaut"

// Open finds the cache folder ($KUBERNAUT_CACHE, else kubernaut below
// $XDG_CACHE_HOME or ~/.cache) and the checkout: the nearest folder with our
// go.mod above the working directory, else above the running program.
func Open() (Cache, error) {
	dir, err := Dir()
	if err != nil {
		return Cache{}, err
	}
	var starts []string
	for _, from := range []func() (string, error){os.Getwd, os.Executable} {
		start, err := from()
		if err != nil {
			continue // the other may do
		}
		starts = append(starts, start)
		if source, ok := checkoutAbove(start); ok {
			return Cache{Dir: dir, Source: source}, nil
		}
	}
	return Cache{}, fmt.Errorf("no checkout of %s above %s: run this inside the checkout", module, strings.Join(starts, " or "))
}

// Dir is the cache folder, as Open finds it. It needs no checkout.
func Dir() (string, error) {
	if dir := os.Getenv("KUBERNAUT_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w; set KUBERNAUT_CACHE", err)
	}
	return filepath.Join(base, "kubernaut"), nil
}

func checkoutAbove(start string) (string, bool) {
	for dir := start; ; dir = filepath.Dir(dir) {
		if moduleOf(filepath.Join(dir, "go.mod")) == module {
			return dir, true
		}
		if dir == filepath.Dir(dir) {
			return "", false
		}
	}
}

// moduleOf reads the module line of a go.mod; a file that cannot be read has none.
func moduleOf(gomod string) string {
	file, err := os.Open(gomod)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }() // only read
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "module "); ok {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

// Lookup returns the path of p when the cache holds it whole and built from
// the present sources. It never builds, and takes milliseconds.
func (c Cache) Lookup(p Program) (path string, ok bool) {
	inputs, err := c.remembered(p)
	if err != nil {
		return "", false
	}
	key, err := c.key(p, inputs)
	if err != nil {
		return "", false
	}
	return c.stored(p, key)
}

// Build returns the path of p, which it compiles first unless the cache holds
// it whole and built from the present sources. say is told, about once a
// second, what is done, how far it is and how long it may take.
func (c Cache) Build(ctx context.Context, p Program, say func(note string)) (path string, err error) {
	if path, ok := c.Lookup(p); ok {
		return path, nil
	}
	release, err := lockfile.Acquire(ctx, filepath.Join(c.folder(p), "lock"), func() {
		say("waiting for another process that builds " + p.Name)
	})
	if err != nil {
		return "", fmt.Errorf("building %s: %w", p.Name, err)
	}
	defer release()
	if path, ok := c.Lookup(p); ok { // the other process was faster
		return path, nil
	}
	path, err = c.compile(ctx, p, say)
	if err != nil {
		return "", fmt.Errorf("building %s: %w", p.Name, err)
	}
	return path, nil
}

// compile builds p aside and gives it its place in the cache. The caller holds
// the program's lock.
func (c Cache) compile(ctx context.Context, p Program, say func(string)) (string, error) {
	say("reading the sources of " + p.Name)
	found, err := c.list(ctx, p, say)
	if err != nil {
		return "", err
	}
	if err := c.remember(p, found.inputs); err != nil {
		return "", err
	}
	key, err := c.key(p, found.inputs)
	if err != nil {
		return "", err
	}
	if path, ok := c.stored(p, key); ok { // these sources were seen before
		return path, nil
	}
	aside, err := c.aside(p)
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(aside) }() // renamed by now, or of no use
	started := time.Now()
	meter := newMeter(found.stale, c.timing(p))
	if err := c.goBuild(ctx, p, filepath.Join(aside, p.Name), meter.follow(say)); err != nil {
		return "", err
	}
	say(fmt.Sprintf("built %s in %s", p.Name, rounded(time.Since(started))))
	return c.store(p, key, aside, meter.measured())
}

// aside makes an empty folder for a build and removes those of builds that
// were interrupted.
func (c Cache) aside(p Program) (string, error) {
	old, err := filepath.Glob(filepath.Join(c.folder(p), "unfinished-*"))
	if err != nil {
		return "", err
	}
	var errs []error
	for _, dir := range old {
		errs = append(errs, os.RemoveAll(dir))
	}
	dir, err := os.MkdirTemp(c.folder(p), "unfinished-")
	return dir, errors.Join(append(errs, err)...)
}

func (c Cache) folder(p Program) string { return filepath.Join(c.Dir, "programs", p.Name) }
