// Package charts holds Kubernaut's Helm chart and the tests of what it renders:
// every pod is as restricted as Pod Security can ask, every rule of access names
// what it allows, and the network policies let through what has to talk.
package charts

import (
	"embed"
	"io/fs"
)

//go:embed kubernaut/crds/*.yaml
var files embed.FS

// Definitions are the files that define Kubernaut's kinds, as this version has them.
func Definitions() fs.FS {
	folder, err := fs.Sub(files, "kubernaut/crds")
	if err != nil {
		panic(err) // the path is a constant
	}
	return folder
}
