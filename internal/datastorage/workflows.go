package datastorage

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
)

// CreateWorkflow registers one version of a workflow.
func (s *Server) CreateWorkflow(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, Access{"create", workflows}, func(ctx context.Context, who Caller) (answer, error) {
		var spec api.WorkflowSpec
		if err := s.readJSON(w, r, &spec); err != nil {
			return answer{}, err
		}
		if found := catalog.Check(&spec); len(found) > 0 {
			return answer{}, invalid("nothing was kept; correct the fields named and send it again", found[:min(len(found), maxFields)]...)
		}
		entry := catalog.Workflow(spec)
		entry.CreatedBy = who.ID
		kept, created, err := s.catalog.Create(ctx, entry)
		if err != nil {
			return answer{}, err
		}
		if created {
			return answer{http.StatusCreated, kept}, nil
		}
		return answer{http.StatusOK, kept}, nil
	})
}

// GetWorkflow reads one version of a workflow.
func (s *Server) GetWorkflow(w http.ResponseWriter, r *http.Request, id uuid.UUID) {
	s.serve(w, r, Access{"get", workflows}, func(ctx context.Context, _ Caller) (answer, error) {
		found, err := s.catalog.Get(ctx, id)
		return answer{http.StatusOK, found}, err
	})
}

// ListWorkflows reads one page of workflows.
func (s *Server) ListWorkflows(w http.ResponseWriter, r *http.Request, p api.ListWorkflowsParams) {
	s.serve(w, r, Access{"get", workflows}, func(ctx context.Context, _ Caller) (answer, error) {
		if err := checkQuery(r.URL.Query(), p); err != nil {
			return answer{}, err
		}
		q := WorkflowQuery{
			Name: p.WorkflowName, Version: p.Version, Status: p.Status, Latest: p.Latest,
			Limit: or(p.Limit, defaultLimit), Offset: p.Offset,
		}
		page, err := s.catalog.List(ctx, q)
		if err != nil {
			return answer{}, err
		}
		return answer{http.StatusOK, api.WorkflowPage{
			Workflows: list(page.Workflows),
			Pagination: api.Pagination{
				Limit: q.Limit, Offset: q.Offset, Total: page.Total, HasMore: q.Offset+len(page.Workflows) < page.Total,
			},
		}}, nil
	})
}

// ListWorkflowVersions reads all versions of one workflow.
func (s *Server) ListWorkflowVersions(w http.ResponseWriter, r *http.Request, name string) {
	s.serve(w, r, Access{"get", workflows}, func(ctx context.Context, _ Caller) (answer, error) {
		page, err := s.catalog.List(ctx, WorkflowQuery{Name: name, Limit: maxLimit})
		if err != nil {
			return answer{}, err
		}
		if len(page.Workflows) == 0 {
			return answer{}, ErrNotFound
		}
		return answer{http.StatusOK, api.WorkflowVersions{WorkflowName: name, Versions: page.Workflows}}, nil
	})
}
