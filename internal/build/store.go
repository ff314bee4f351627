package build

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// record stands beside a stored program and says what its file must be.
type record struct {
	SHA256 string
	Seen   stamp // the file as it was when its checksum was last taken
}

// stamp changes whenever a file's content is written: while it stays the same
// the checksum need not be taken again.
type stamp struct {
	Size, Inode      int64
	Modified, Change int64 // ns since 1970
}

// timing is what building a program took when it was last measured.
type timing struct {
	PerPackage time.Duration // compiling one package, wall clock
	Link       time.Duration // from the last package to the end
}

const kept = 4 // builds of one program that stay: several checkouts share a cache

// stored returns the program with that key if its file is what was stored.
func (c Cache) stored(p Program, key string) (path string, ok bool) {
	dir := filepath.Join(c.folder(p), key)
	path = filepath.Join(dir, p.Name)
	var rec record
	if err := readJSON(filepath.Join(dir, "record.json"), &rec); err != nil {
		return "", false
	}
	now, err := stampOf(path)
	if err != nil {
		return "", false
	}
	if now == rec.Seen {
		return path, true
	}
	if sum, err := checksum(path); err != nil || sum != rec.SHA256 {
		return "", false
	}
	rec.Seen = now
	return path, writeJSON(filepath.Join(dir, "record.json"), rec) == nil
}

// store checksums the program that was built in aside and renames its folder to
// its place.
func (c Cache) store(p Program, key, aside string, measured timing) (string, error) {
	built := filepath.Join(aside, p.Name)
	if err := flush(built); err != nil {
		return "", err
	}
	sum, err := checksum(built)
	if err != nil {
		return "", err
	}
	seen, err := stampOf(built)
	if err != nil {
		return "", err
	}
	if err := writeJSON(filepath.Join(aside, "record.json"), record{SHA256: sum, Seen: seen}); err != nil {
		return "", err
	}
	place := filepath.Join(c.folder(p), key)
	if err := os.RemoveAll(place); err != nil { // a damaged one with the same key
		return "", err
	}
	if err := os.Chmod(aside, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(aside, place); err != nil {
		return "", err
	}
	if err := c.remeasure(p, measured); err != nil {
		return "", err
	}
	return filepath.Join(place, p.Name), c.prune(p)
}

// prune removes all but the newest builds of p. A running program keeps its
// file through the links that its user holds.
func (c Cache) prune(p Program) error {
	records, err := filepath.Glob(filepath.Join(c.folder(p), "*", "record.json"))
	if err != nil || len(records) <= kept {
		return err
	}
	age := map[string]time.Time{}
	for _, r := range records {
		if info, err := os.Stat(r); err == nil {
			age[r] = info.ModTime()
		}
	}
	slices.SortFunc(records, func(a, b string) int { return age[b].Compare(age[a]) })
	var errs []error
	for _, r := range records[kept:] {
		errs = append(errs, os.RemoveAll(filepath.Dir(r)))
	}
	return errors.Join(errs...)
}

func stampOf(path string) (stamp, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return stamp{}, fmt.Errorf("looking at %s: %w", path, err)
	}
	return stamp{Size: st.Size, Inode: int64(st.Ino), Modified: st.Mtim.Nano(), Change: st.Ctim.Nano()}, nil
}

// flush makes sure that the file is on the disk before its record is.
func flush(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// timing returns what to expect of building p: the last measurement on this
// machine, else one made on two cores.
func (c Cache) timing(p Program) timing {
	t := timing{PerPackage: 250 * time.Millisecond, Link: 5 * time.Second}
	if p.Name == Kubernetes.Name {
		t.Link = 30 * time.Second
	}
	var last timing
	if readJSON(filepath.Join(c.folder(p), "timing.json"), &last) != nil {
		return t
	}
	if last.PerPackage > 0 {
		t.PerPackage = last.PerPackage
	}
	if last.Link > 0 {
		t.Link = last.Link
	}
	return t
}

func (c Cache) remeasure(p Program, measured timing) error {
	t := c.timing(p)
	if measured.PerPackage > 0 {
		t.PerPackage = measured.PerPackage
	}
	t.Link = measured.Link
	return writeJSON(filepath.Join(c.folder(p), "timing.json"), t)
}

func readJSON(path string, into any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// writeJSON replaces the file in one step.
func writeJSON(path string, value any) error {
	raw, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	aside := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(aside, append(raw, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(aside, path)
}
