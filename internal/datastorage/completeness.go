package datastorage

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/completeness"
)

// maxExecutionID is how long a resource_id may be.
const maxExecutionID = 255

// CheckExecutionTrail says whether the trail of one execution is whole, and whether
// its events are what was recorded.
func (s *Server) CheckExecutionTrail(w http.ResponseWriter, r *http.Request, execution string) {
	s.serve(w, r, Access{"get", auditEvents}, func(ctx context.Context, _ Caller) (answer, error) {
		if utf8.RuneCountInString(execution) > maxExecutionID || strings.ContainsRune(execution, 0) || !utf8.ValidString(execution) {
			return answer{}, invalid("give the UID of a WorkflowExecution", api.FieldProblem{Field: "execution_id", Message: "is no UID"})
		}
		page, err := s.reader.Query(ctx, Query{
			Filter: Filter{Equals: []Equal{{"resource_id", execution}, {"event_category", completeness.Category}}},
			Limit:  maxLimit, Ascending: true,
		})
		if err != nil {
			return answer{}, err
		}
		if len(page.Events) == 0 {
			return answer{}, ErrNotFound
		}
		verdict := completeness.Of(execution, page.Events)
		if page.Next != nil { // an execution has a handful
			verdict.Problems = append(verdict.Problems, fmt.Sprintf("it has more events than the %d that were looked at", len(page.Events)))
			verdict.State = api.CompletenessStateBroken
		}
		for _, e := range page.Events {
			if wrong := completeness.Altered(e); wrong != "" {
				verdict.Problems = append(verdict.Problems, wrong)
				verdict.State = api.CompletenessStateBroken
			}
		}
		return answer{http.StatusOK, verdict}, nil
	})
}
