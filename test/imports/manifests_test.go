package imports

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// literal is the name of a Service typed into a manifest.
var literal = regexp.MustCompile(`\b[a-z0-9-]+\.[a-z0-9-]+\.svc\b`)

// TestManifestsImportNoHosts keeps names of Services out of manifests:
// they come from typed references, so that a renamed Service cannot be waited
// for under its old name.
func TestManifestsImportNoHosts(t *testing.T) {
	for _, root := range []string{"charts", "workflows", "test/e2e/workflows", "internal", "node"} {
		err := filepath.WalkDir(filepath.Join("../..", root), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				if d.Name() == "statuses" || d.Name() == "recorded" { // from real clusters, not applied
					return fs.SkipDir
				}
				return nil
			}
			if !slices.Contains([]string{".yaml", ".yml", ".tpl"}, filepath.Ext(path)) {
				return nil
			}
			return check(t, path)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func check(t *testing.T, path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	number := 0
	for line := range strings.Lines(string(raw)) {
		number++
		if found := literal.FindString(line); found != "" {
			t.Errorf("%s:%d names the host %s: take it from a typed reference", path, number, found)
		}
	}
	return nil
}
