package postgres

import "kubernaut.ai/kubernaut/internal/datastorage"

// Statements are the statements of the reading side, for tests of their plans.
var Statements = struct {
	Page    func(datastorage.Query) (string, []any)
	Count   func(datastorage.Filter) (string, []any)
	Part    func(datastorage.Query, datastorage.Place) (string, []any)
	Feed    func(f datastorage.Filter, after, bound datastorage.Position) (string, []any)
	Summary func(datastorage.SummaryQuery) (string, []any)
}{pageOf, countOf, partOf, feedOf, summaryOf}
