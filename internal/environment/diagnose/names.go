package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// Absent is the cause of a wait for an object that does not exist. names are
// those of its kind that do, where it was looked for.
func Absent(o plan.Object, names []string) Finding {
	return Finding{
		Code: NameUnknown, Object: o, Hopeless: true,
		Sentence: fmt.Sprintf("%s is waited for and does not exist%s", o, similar(o, names)),
		Evidence: []Evidence{{From: "the API server", Text: "no " + o.Kind + " of that name"}},
		Next:     []string{kubectl(o.Namespace, "get "+strings.ToLower(o.Kind))},
	}
}

// similar tells which of the names are most like the object's.
func similar(o plan.Object, names []string) string {
	alike := closest(o.Name, names)
	if len(alike) == 0 {
		return fmt.Sprintf(" (there is no %s at all)", o.Kind)
	}
	return " (there is " + strings.Join(alike, ", ") + ")"
}

// closest returns up to three names, those that differ least from the wanted one first.
func closest(wanted string, names []string) []string {
	names = slices.Clone(names)
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(distance(wanted, a), distance(wanted, b)), cmp.Compare(a, b))
	})
	return names[:min(3, len(names))]
}

// distance counts the letters to insert, remove or change from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substituted := diagonal
			if a[i] != b[j] {
				substituted++
			}
			diagonal = row[j+1]
			row[j+1] = min(substituted, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
