// Package build compiles the programs of the environment from the checkout and
// keeps them in a cache outside of it.
//
//	sources ─► digest ─► in the cache and whole? ─► its path
//	                            │ no
//	                            └─► go build, aside ─► checksum ─► rename
//
// A program is looked up by the digest of everything it is made of, so a stale
// one cannot be found. What was interrupted was never renamed, and a file that
// changed after it was stored no longer fits its record: both are built again.
package build
