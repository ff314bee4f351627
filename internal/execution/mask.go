package execution

import (
	"slices"
	"strings"
)

// masked stands where a secret value stood.
const masked = "***"

// shortest is the length below which a value is not looked for in text: it would
// be found everywhere and tell nothing.
const shortest = 3

// mask takes secret values out of a text, the longest first, so that no part of
// one is left by another. A value of several lines is also taken out line by line.
func (s Snapshot) mask(text string) string {
	for _, secret := range s.secretTexts() {
		text = strings.ReplaceAll(text, secret, masked)
	}
	return text
}

func (s Snapshot) maskAll(lines []string) []string {
	all := make([]string, len(lines))
	for i, line := range lines {
		all[i] = s.mask(line)
	}
	return all
}

func (s Snapshot) secretTexts() []string {
	var all []string
	for _, secret := range s.Secrets {
		all = append(all, secret)
		all = append(all, strings.Split(secret, "\n")...)
	}
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	all = slices.DeleteFunc(all, func(t string) bool { return len(t) < shortest })
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(all)
}
