package datastorage

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// summarySpan is how far a summary looks back when the request does not say.
const summarySpan = 7 * 24 * time.Hour

// SummarizeAuditEvents counts events by group.
func (s *Server) SummarizeAuditEvents(w http.ResponseWriter, r *http.Request, p api.SummarizeAuditEventsParams) {
	s.serve(w, r, Access{"get", auditEvents}, func(ctx context.Context, _ Caller) (answer, error) {
		if err := checkQuery(r.URL.Query(), p); err != nil {
			return answer{}, err
		}
		q, err := s.summaryQuery(r, p)
		if err != nil {
			return answer{}, err
		}
		groups, more, err := s.reader.Summarize(ctx, q)
		if err != nil {
			return answer{}, err
		}
		return answer{http.StatusOK, api.Summary{Data: list(groups), Since: q.Since, Until: q.Until, HasMore: more}}, nil
	})
}

func (s *Server) summaryQuery(r *http.Request, p api.SummarizeAuditEventsParams) (SummaryQuery, error) {
	q := SummaryQuery{By: p.GroupBy, Bucket: string(p.Bucket), Limit: cmp.Or(p.Limit, defaultLimit)}
	for i, key := range q.By {
		if !key.Valid() || slices.Contains(q.By[:i], key) || len(q.By) > maxSummaryKeys {
			return q, invalid("name up to 4 different keys; /openapi.yaml has them", api.FieldProblem{
				Field: "group_by", Message: "is not a list of different keys that the contract names",
			})
		}
	}
	now := s.now().UTC()
	var err error
	if q.Filter, err = filterOf(r.URL.Query(), now); err == nil && q.Since.IsZero() {
		q.Since = now.Add(-summarySpan)
	}
	return q, err
}

// maxSummaryKeys is by how many keys events are grouped.
const maxSummaryKeys = 4
