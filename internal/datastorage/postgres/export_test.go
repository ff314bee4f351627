package postgres

import (
	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage"
)

// Statements are the statements of the reading side, for tests of their plans.
var Statements = struct {
	Page          func(datastorage.Query) (string, []any)
	Count         func(datastorage.Filter) (string, []any)
	Part          func(datastorage.Query, datastorage.Place) (string, []any)
	Feed          func(f datastorage.Filter, after, bound datastorage.Position) (string, []any)
	Summary       func(datastorage.SummaryQuery) (string, []any)
	WorkflowPage  func(datastorage.WorkflowQuery) (string, []any)
	WorkflowCount func(datastorage.WorkflowQuery) (string, []any)
	Labelled      func(api.WorkflowFilters) (string, []any)

	Missing, Digests, OneHold, ManyHolds, OneWorkflow string
}{
	pageOf, countOf, partOf, feedOf, summaryOf, workflowPageOf, workflowCountOf, labelledOf,
	missingOf, digestsOf, holdsOf(oneHold), holdsOf(manyHolds), oneWorkflow,
}
