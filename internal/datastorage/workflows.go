package datastorage

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"

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
		return s.register(ctx, spec, entry)
	})
}

// register keeps a version once. One that is there already is compared with what
// was kept and not looked at again: its registry may be away.
func (s *Server) register(ctx context.Context, spec api.WorkflowSpec, entry api.Workflow) (answer, error) {
	var warnings []string
	there, err := s.catalog.Get(ctx, entry.WorkflowID)
	switch {
	case err == nil && entry.ContainerDigest == "":
		entry.ContainerDigest = there.ContainerDigest // which this image was pinned to
	case errors.Is(err, ErrNotFound):
		if warnings, err = s.verifier.verify(ctx, spec, &entry); err != nil {
			return answer{}, err
		}
	case err != nil:
		return answer{}, err
	}
	kept, created, err := s.catalog.Create(ctx, entry)
	if err != nil {
		return answer{}, err
	}
	if !created {
		return answer{http.StatusOK, kept}, nil
	}
	if len(warnings) > 0 {
		s.log.Warn("Workflow is registered although it is not what it says", "workflow", kept.WorkflowName, "version", kept.Version, "warnings", warnings)
	}
	kept.Warnings = warnings
	return answer{http.StatusCreated, kept}, nil
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
			Limit: cmp.Or(p.Limit, defaultLimit), Offset: p.Offset,
		}
		page, err := s.catalog.List(ctx, q)
		if err != nil {
			return answer{}, err
		}
		more := q.Offset+len(page.Workflows) < page.Total
		return answer{http.StatusOK, api.WorkflowPage{
			Workflows: list(page.Workflows),
			Pagination: api.Pagination{
				Limit: room(q.Limit, len(page.Workflows), more), Offset: q.Offset, Total: page.Total, HasMore: more,
			},
		}}, nil
	})
}

// ListWorkflowVersions reads the versions of one workflow, all that one answer has room
// for.
func (s *Server) ListWorkflowVersions(w http.ResponseWriter, r *http.Request, name string) {
	s.serve(w, r, Access{"get", workflows}, func(ctx context.Context, _ Caller) (answer, error) {
		page, err := s.catalog.List(ctx, WorkflowQuery{Name: name, Limit: maxLimit})
		if err != nil {
			return answer{}, err
		}
		if len(page.Workflows) == 0 {
			return answer{}, ErrNotFound
		}
		return answer{http.StatusOK, api.WorkflowVersions{
			WorkflowName: name, Versions: page.Workflows, HasMore: len(page.Workflows) < page.Total,
		}}, nil
	})
}

// UpdateWorkflow changes the status of one version.
func (s *Server) UpdateWorkflow(w http.ResponseWriter, r *http.Request, id uuid.UUID) {
	s.serve(w, r, Access{"update", workflows}, func(ctx context.Context, who Caller) (answer, error) {
		var update api.WorkflowUpdate
		if err := s.readJSON(w, r, &update); err != nil {
			return answer{}, aboutImmutables(err)
		}
		return s.setStatus(ctx, id, StatusChange{update.Status, update.Reason, who.ID}, false)
	})
}

// DisableWorkflow takes one version out of use.
func (s *Server) DisableWorkflow(w http.ResponseWriter, r *http.Request, id uuid.UUID) {
	s.serve(w, r, Access{"update", workflows}, func(ctx context.Context, who Caller) (answer, error) {
		var disable api.WorkflowDisable
		if err := s.readJSON(w, r, &disable); err != nil {
			return answer{}, err
		}
		return s.setStatus(ctx, id, StatusChange{api.WorkflowStatusDisabled, disable.Reason, who.ID}, true)
	})
}

func (s *Server) setStatus(ctx context.Context, id uuid.UUID, c StatusChange, reasonRequired bool) (answer, error) {
	if found := catalog.CheckStatus(c.Status, c.Reason, reasonRequired); len(found) > 0 {
		return answer{}, invalid("nothing was changed; correct the fields named", found...)
	}
	changed, err := s.catalog.SetStatus(ctx, id, c)
	return answer{http.StatusOK, changed}, err
}

// aboutImmutables says of a member that a workflow has but an update has not that
// it never changes, instead of that it is unknown.
func aboutImmutables(err error) error {
	p, ok := errors.AsType[*problem](err)
	if !ok {
		return err
	}
	for i, f := range p.fields {
		if slices.Contains(workflowMembers, f.Field) && f.Field != "status" {
			p.fields[i].Message = "never changes; register a new version instead"
		}
	}
	return p
}

// workflowMembers are the names of the members of a workflow.
var workflowMembers = membersOf(reflect.TypeFor[api.Workflow]())

func membersOf(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// SearchWorkflows finds the workflows for a signal.
func (s *Server) SearchWorkflows(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, Access{"get", workflows}, func(ctx context.Context, _ Caller) (answer, error) {
		var search api.WorkflowSearch
		if err := s.readJSON(w, r, &search); err != nil {
			return answer{}, err
		}
		if found := catalog.CheckSearch(&search); len(found) > 0 {
			return answer{}, invalid("correct the fields named", found...)
		}
		candidates, err := s.catalog.Labelled(ctx, search.Filters)
		if err != nil {
			return answer{}, err
		}
		best, err := s.whole(ctx, catalog.Best(search, candidates))
		return answer{http.StatusOK, api.WorkflowMatches{Workflows: list(best)}}, err
	})
}

// matchesBytes is the content after which an answer to a search ends early.
const matchesBytes = 4 << 20

// whole reads what candidates are without, and which never changes, of as many matches
// as one answer has room for.
func (s *Server) whole(ctx context.Context, matches []api.WorkflowMatch) ([]api.WorkflowMatch, error) {
	size := 0
	for i := range matches {
		if size >= matchesBytes {
			return matches[:i], nil
		}
		w := &matches[i].Workflow
		read, err := s.catalog.Get(ctx, w.WorkflowID)
		if err != nil {
			return nil, err
		}
		w.Content, w.Parameters = read.Content, read.Parameters
		size += len(w.Content)
	}
	return matches, nil
}
