// Package image makes container images without a container engine.
//
//	Recipe ──► Tree (files) ──► v1.Image ──► archive (loaded into a node)
//	                                    └──► Push    (sent to a registry)
//
// A recipe names Go programs, files of installed Debian packages and texts.
// The files of a package come with the shared libraries their ELF headers ask
// for. Nothing depends on the clock, on owners or on the order of a directory:
// the same input gives the same digest, and an image is called by that digest
// (see Reference), so that a stale one can never be taken for a new one.
package image
