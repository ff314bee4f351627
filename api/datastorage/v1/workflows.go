package datastorage

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"

	"github.com/google/uuid"
)

// CreateWorkflow registers one version of a workflow. created is false when it
// was registered already, with the same content: also by this call, when the answer
// to its first attempt was lost.
func (c *Client) CreateWorkflow(ctx context.Context, spec WorkflowSpec) (w Workflow, created bool, err error) {
	raw, err := json.Marshal(spec)
	if err != nil {
		return Workflow{}, false, err
	}
	status, err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/workflows", body: raw, into: &w})
	if err != nil {
		return Workflow{}, false, fmt.Errorf("registering workflow %s %s: %w", spec.WorkflowName, spec.Version, err)
	}
	return w, status == http.StatusCreated, nil
}

// Workflow returns one version of a workflow by its id.
func (c *Client) Workflow(ctx context.Context, id uuid.UUID) (Workflow, error) {
	var w Workflow
	if _, err := c.do(ctx, call{method: http.MethodGet, path: "/api/v1/workflows/" + id.String(), into: &w}); err != nil {
		return Workflow{}, fmt.Errorf("reading workflow %s: %w", id, err)
	}
	return w, nil
}

// WorkflowVersion returns the given version of the workflow of this name.
func (c *Client) WorkflowVersion(ctx context.Context, name, version string) (Workflow, error) {
	page, err := c.Workflows(ctx, ListWorkflowsParams{WorkflowName: name, Version: version})
	if err != nil {
		return Workflow{}, fmt.Errorf("reading workflow %s %s: %w", name, version, err)
	}
	if len(page.Workflows) == 0 {
		return Workflow{}, fmt.Errorf("workflow %s %s: %w", name, version, ErrNotFound)
	}
	return page.Workflows[0], nil
}

// Workflows lists workflows, one page of them.
func (c *Client) Workflows(ctx context.Context, q ListWorkflowsParams) (WorkflowPage, error) {
	query, err := values(q)
	if err != nil {
		return WorkflowPage{}, err
	}
	var page WorkflowPage
	_, err = c.do(ctx, call{method: http.MethodGet, path: "/api/v1/workflows", query: query, into: &page})
	return page, err
}

// AllWorkflows goes through every workflow that matches, page by page. It ends after the
// first error.
func (c *Client) AllWorkflows(ctx context.Context, q ListWorkflowsParams) iter.Seq2[Workflow, error] {
	return func(yield func(Workflow, error) bool) {
		for more := true; more; {
			page, err := c.Workflows(ctx, q)
			if err != nil {
				yield(Workflow{}, err)
				return
			}
			for _, w := range page.Workflows {
				if !yield(w, nil) {
					return
				}
			}
			q.Offset += len(page.Workflows)
			more = page.Pagination.HasMore && len(page.Workflows) > 0
		}
	}
}

// maxPage is the largest page that may be asked for.
const maxPage = 1000

// WorkflowVersions lists all versions of one workflow, the highest first.
func (c *Client) WorkflowVersions(ctx context.Context, name string) ([]Workflow, error) {
	var list WorkflowVersions
	path := "/api/v1/workflows/by-name/" + url.PathEscape(name) + "/versions"
	if _, err := c.do(ctx, call{method: http.MethodGet, path: path, into: &list}); err != nil {
		return nil, fmt.Errorf("reading the versions of workflow %s: %w", name, err)
	}
	if !list.HasMore {
		return list.Versions, nil
	}
	for w, err := range c.AllWorkflows(ctx, ListWorkflowsParams{WorkflowName: name, Offset: len(list.Versions), Limit: maxPage}) {
		if err != nil {
			return nil, fmt.Errorf("reading the versions of workflow %s: %w", name, err)
		}
		list.Versions = append(list.Versions, w)
	}
	return list.Versions, nil
}

// SearchWorkflows returns the workflows for a signal, the best first.
func (c *Client) SearchWorkflows(ctx context.Context, s WorkflowSearch) ([]WorkflowMatch, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var found WorkflowMatches
	if _, err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/workflows/search", body: raw, into: &found}); err != nil {
		return nil, fmt.Errorf("searching workflows: %w", err)
	}
	return found.Workflows, nil
}

// SetWorkflowStatus changes the status of one version of a workflow.
func (c *Client) SetWorkflowStatus(ctx context.Context, id uuid.UUID, u WorkflowUpdate) (Workflow, error) {
	raw, err := json.Marshal(u)
	if err != nil {
		return Workflow{}, err
	}
	var w Workflow
	if _, err := c.do(ctx, call{method: http.MethodPatch, path: "/api/v1/workflows/" + id.String(), body: raw, into: &w}); err != nil {
		return Workflow{}, fmt.Errorf("changing the status of workflow %s: %w", id, err)
	}
	return w, nil
}

// DisableWorkflow takes one version of a workflow out of use.
func (c *Client) DisableWorkflow(ctx context.Context, id uuid.UUID, reason string) (Workflow, error) {
	raw, err := json.Marshal(WorkflowDisable{Reason: reason})
	if err != nil {
		return Workflow{}, err
	}
	var w Workflow
	if _, err := c.do(ctx, call{method: http.MethodPatch, path: "/api/v1/workflows/" + id.String() + "/disable", body: raw, into: &w}); err != nil {
		return Workflow{}, fmt.Errorf("disabling workflow %s: %w", id, err)
	}
	return w, nil
}
