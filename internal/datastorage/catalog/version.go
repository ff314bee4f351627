package catalog

import (
	"fmt"
	"strings"

	"golang.org/x/mod/semver"
)

// ValidVersion says whether a version is a semantic version in full form, without
// a leading v and without build metadata, which orders nothing.
func ValidVersion(version string) bool {
	v := "v" + version
	return semver.IsValid(v) && semver.Build(v) == "" && strings.Count(strings.SplitN(version, "-", 2)[0], ".") == 2
}

// Prerelease says whether a valid version is a pre-release, which is never the latest.
func Prerelease(version string) bool { return semver.Prerelease("v"+version) != "" }

// VersionKey is a text that sorts, byte by byte, as valid versions do: a number is
// written with its length before it, a release ends with a byte that is higher
// than the one that begins a pre-release, and what separates identifiers is lower
// than all they are made of.
func VersionKey(version string) string {
	core, pre, isPre := strings.Cut(version, "-")
	var b strings.Builder
	for part := range strings.SplitSeq(core, ".") {
		fmt.Fprintf(&b, "%02d%s", len(part), part)
	}
	if !isPre {
		return b.String() + "~"
	}
	separator := "-"
	for id := range strings.SplitSeq(pre, ".") {
		b.WriteString(separator)
		if strings.Trim(id, "0123456789") == "" {
			fmt.Fprintf(&b, "0%02d%s", len(id), id)
		} else {
			b.WriteString("1" + id)
		}
		separator = ","
	}
	return b.String()
}
