// Package workflows holds the remedies that Kubernaut is shipped with, one
// folder each.
package workflows

import "embed"

// Shipped is the folders of the shipped remedies, by name.
//
//go:embed */*.yaml
var Shipped embed.FS
