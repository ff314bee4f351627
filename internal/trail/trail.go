// Package trail reads the audit trail of a cluster and shows it to people.
package trail

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/terminal"
)

// Read returns the newest limit events of a cluster that match q, the oldest first.
func Read(ctx context.Context, c *connect.Cluster, q datastorage.QueryAuditEventsParams, limit int) ([]datastorage.StoredEvent, error) {
	storage, err := c.DataStorage(ctx)
	if err != nil {
		return nil, err
	}
	return Newest(ctx, storage, q, limit)
}

// Newest returns the newest limit events that match q, the oldest first.
func Newest(ctx context.Context, storage *datastorage.Client, q datastorage.QueryAuditEventsParams, limit int) ([]datastorage.StoredEvent, error) {
	events := []datastorage.StoredEvent{}
	for e, err := range storage.AllEvents(ctx, q) {
		if err != nil {
			return nil, fmt.Errorf("reading the audit trail: %w", connect.ExplainDataStorage(err))
		}
		if events = append(events, e); len(events) == limit {
			break
		}
	}
	slices.Reverse(events)
	return events, nil
}

// Table shows events to people.
func Table(events []datastorage.StoredEvent, wide bool, paint terminal.Paint) *terminal.Table {
	table := &terminal.Table{Header: []string{"TIME", "EVENT", "OUTCOME", "RESOURCE", "DETAIL"}}
	if wide {
		table.Header = append(table.Header, "CORRELATION", "ACTOR", "EVENT ID")
	}
	for _, e := range events {
		table.Add(Cells(e, wide, paint)...)
	}
	return table
}

// Cells shows one event to people.
func Cells(e datastorage.StoredEvent, wide bool, paint terminal.Paint) []terminal.Cell {
	cells := append(terminal.Plain(e.EventTimestamp.Local().Format("2006-01-02 15:04:05.000"), e.EventType),
		terminal.Cell{Text: string(e.EventOutcome), Style: styleOf(e.EventOutcome, paint)})
	cells = append(cells, terminal.Plain(resource(e), detail(e))...)
	if wide {
		cells = append(cells, terminal.Plain(e.CorrelationID, e.ActorID, e.EventID.String())...)
	}
	return cells
}

func resource(e datastorage.StoredEvent) string {
	return strings.TrimPrefix(e.Namespace+"/"+e.ResourceName, "/")
}

// said is what the controller puts into the data of its events.
type said struct {
	Workflow struct {
		ID      string `json:"workflow_id"`
		Version string `json:"version"`
	} `json:"workflow"`
	TargetResource string `json:"target_resource"`
	Target         string `json:"target"`
	Run            struct {
		Name string `json:"name"`
	} `json:"run"`
	Skip struct {
		Reason string `json:"reason"`
	} `json:"skip"`
}

// detail is what a line has room for.
func detail(e datastorage.StoredEvent) string {
	var data said
	if json.Unmarshal(e.EventData, &data) != nil {
		data = said{} // another client's event, of another shape
	}
	var parts []string
	add := func(text string, wanted bool) {
		if wanted && text != "" {
			parts = append(parts, text)
		}
	}
	add(data.Workflow.ID+"@"+data.Workflow.Version+" on "+data.TargetResource, data.TargetResource != "")
	add(data.Target, e.EventAction == "locked")
	add("run "+data.Run.Name, e.EventAction == "started" && data.Run.Name != "")
	add(data.Skip.Reason, true)
	add(e.ErrorCode, true)
	if e.DurationMS != nil {
		add((time.Duration(*e.DurationMS) * time.Millisecond).Round(100*time.Millisecond).String(), true)
	}
	return strings.Join(parts, ", ")
}

func styleOf(outcome datastorage.EventOutcome, paint terminal.Paint) func(string) string {
	switch outcome {
	case "success":
		return paint.Good
	case "failure":
		return paint.Bad
	}
	return paint.Warn
}
