package datastorage

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// retentionPatience is how long one run of retention may take.
const retentionPatience = 30 * time.Minute

// Holds lists legal holds, the newest first.
func (c *Client) Holds(ctx context.Context, p ListHoldsParams) ([]Hold, error) {
	query, err := values(p)
	if err != nil {
		return nil, err
	}
	var list HoldList
	_, err = c.do(ctx, call{method: http.MethodGet, path: "/api/v1/audit/holds", query: query, into: &list})
	return list.Holds, err
}

// PlaceHold holds all events of a case. To be able to call it again after an error
// without placing a second hold, give it an id.
func (c *Client) PlaceHold(ctx context.Context, h HoldRequest) (Hold, error) {
	if h.HoldID == uuid.Nil {
		h.HoldID = uuid.New()
	}
	var hold Hold
	err := c.post(ctx, "/api/v1/audit/holds", h, &hold)
	return hold, err
}

// ReleaseHold releases one hold.
func (c *Client) ReleaseHold(ctx context.Context, id uuid.UUID, reason string) (Hold, error) {
	var hold Hold
	err := c.post(ctx, "/api/v1/audit/holds/"+id.String()+"/release", HoldRelease{Reason: reason}, &hold)
	return hold, err
}

// PlanRetention says what retention would remove now.
func (c *Client) PlanRetention(ctx context.Context) (RetentionPlan, error) {
	var plan RetentionPlan
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/api/v1/audit/retention", patience: retentionPatience, into: &plan})
	return plan, err
}

// RunRetention removes what the policies do not keep.
func (c *Client) RunRetention(ctx context.Context) (RetentionReport, error) {
	var report RetentionReport
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/audit/retention/runs", patience: retentionPatience, into: &report})
	return report, err
}

// Parked lists events that wait for PostgreSQL, or that were moved aside.
func (c *Client) Parked(ctx context.Context, p ListParkedEventsParams) (ParkedPage, error) {
	query, err := values(p)
	if err != nil {
		return ParkedPage{}, err
	}
	var page ParkedPage
	_, err = c.do(ctx, call{method: http.MethodGet, path: "/api/v1/audit/parked", query: query, into: &page})
	return page, err
}

// RetryParked tries poisoned events again, and returns how many were there.
func (c *Client) RetryParked(ctx context.Context, places []string) (int, error) {
	var change ParkedChange
	err := c.post(ctx, "/api/v1/audit/parked/retry", ParkedRetry{Places: places}, &change)
	return change.Events, err
}

// PurgeParked removes parked events for good, and returns how many were there.
func (c *Client) PurgeParked(ctx context.Context, p ParkedPurge) (int, error) {
	var change ParkedChange
	err := c.post(ctx, "/api/v1/audit/parked/purge", p, &change)
	return change.Events, err
}

func (c *Client) post(ctx context.Context, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, call{method: http.MethodPost, path: path, body: raw, into: into})
	return err
}
