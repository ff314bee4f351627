package main

import (
	"os"
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
		Setup:         apart,
	})
}

// apart keeps a script away from the clusters and files of whoever runs it.
func apart(e *testscript.Env) error {
	e.Setenv("KUBERNAUT_CACHE", e.WorkDir+"/cache")
	e.Setenv("HOME", e.WorkDir)
	e.Setenv("KUBECONFIG", "")
	return nil
}
