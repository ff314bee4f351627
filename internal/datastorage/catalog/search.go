package catalog

import (
	"cmp"
	"slices"
	"strings"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// AnyComponent is the component label of a workflow that repairs every component.
const AnyComponent = "*"

// Limits and defaults of a search.
const (
	DefaultTopK = 10
	MaxTopK     = 100
)

// What the parts of a score count, in tenths; see Score.
const (
	forLabels       = 6
	forComponent    = 2
	forAnyComponent = 1
	forCustomLabels = 2
)

// Score says how well a workflow fits what somebody looks for. fits is false when
// one of the five labels does not.
func Score(f api.WorkflowFilters, w api.Workflow) (parts api.ScoreParts, score float64, fits bool) {
	l := w.Labels
	if l.SignalType != f.SignalType || l.Severity != f.Severity || l.Environment != f.Environment || l.Priority != f.Priority {
		return parts, 0, false
	}
	component := forComponent
	switch l.Component {
	case f.Component:
	case AnyComponent:
		component = forAnyComponent
	default:
		return parts, 0, false
	}
	asked, found := 0, 0
	for name, values := range f.CustomLabels {
		for _, v := range values {
			asked++
			if slices.Contains(w.CustomLabels[name], v) {
				found++
			}
		}
	}
	custom := float64(forCustomLabels)
	if asked > 0 {
		custom = forCustomLabels * float64(found) / float64(asked)
	}
	parts = api.ScoreParts{Labels: forLabels / 10.0, Component: float64(component) / 10, CustomLabels: custom / 10}
	return parts, (forLabels + float64(component) + custom) / 10, true
}

// Best scores the candidates and returns those that fit and reach the least score,
// the best first and equal ones by name, at most topK.
func Best(s api.WorkflowSearch, candidates []api.Workflow) []api.WorkflowMatch {
	var matches []api.WorkflowMatch
	for _, w := range candidates {
		parts, score, fits := Score(s.Filters, w)
		if fits && score >= s.MinScore {
			matches = append(matches, api.WorkflowMatch{Workflow: w, Score: score, ScoreParts: parts})
		}
	}
	slices.SortStableFunc(matches, func(a, b api.WorkflowMatch) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), strings.Compare(a.Workflow.WorkflowName, b.Workflow.WorkflowName))
	})
	topK := DefaultTopK
	if s.TopK != nil {
		topK = *s.TopK
	}
	return matches[:min(len(matches), topK)]
}

// CheckSearch returns everything that is wrong with a search.
func CheckSearch(s *api.WorkflowSearch) []api.FieldProblem {
	var p problems
	for _, f := range []struct {
		name, text string
		limit      int
	}{
		{"signal_type", s.Filters.SignalType, 100},
		{"severity", s.Filters.Severity, 20},
		{"component", s.Filters.Component, 100},
		{"environment", s.Filters.Environment, 50},
		{"priority", s.Filters.Priority, 20},
	} {
		p.text("filters."+f.name, f.text, f.limit, true)
	}
	p.checkCustomLabels(s.Filters.CustomLabels)
	if k := s.TopK; k != nil && (*k < 1 || *k > MaxTopK) {
		p.add("top_k", "must be between 1 and %d", MaxTopK)
	}
	if s.MinScore < 0 || s.MinScore > 1 {
		p.add("min_score", "must be between 0 and 1")
	}
	return p
}

// CheckStatus returns everything that is wrong with a change of status.
func CheckStatus(status api.WorkflowStatus, reason string, reasonRequired bool) []api.FieldProblem {
	var p problems
	if !status.Valid() {
		p.add("status", "must be active, deprecated, disabled or archived")
	}
	p.text("reason", reason, 1024, reasonRequired)
	return p
}
