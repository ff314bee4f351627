package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kubernaut": main})
}

// update rewrites the golden texts in the scripts: UPDATE=1 go test ./cmd/kubernaut
var update = os.Getenv("UPDATE") != ""

// TestAlone runs the scripts that need no cluster.
func TestAlone(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/alone",
		UpdateScripts: update,
		Setup:         inCheckout,
	})
}

// apart keeps a script away from the clusters and files of whoever runs it.
func apart(e *testscript.Env) error {
	e.Setenv("KUBERNAUT_CACHE", e.WorkDir+"/cache")
	e.Setenv("HOME", e.WorkDir)
	e.Setenv("KUBECONFIG", "")
	return nil
}

// inCheckout is apart, and tells scripts where the checkout is.
func inCheckout(e *testscript.Env) error {
	source, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	modules, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		return err
	}
	e.Setenv("SOURCE", source)
	e.Setenv("GOMODCACHE", strings.TrimSpace(string(modules)))
	return apart(e)
}
