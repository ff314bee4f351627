// Package upstream holds the manifests of what an environment installs of other
// projects: Tekton Pipelines, read from its own Go module and adapted, and
// CoreDNS.
package upstream
