package datastorage_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/datastorage"
)

// needs is the right that each operation of the contract needs; nobody needs one for
// those of the service itself.
var needs = map[string]datastorage.Access{
	"createAuditEvent":     {Verb: "create", Resource: "auditevents"},
	"createAuditEvents":    {Verb: "create", Resource: "auditevents"},
	"createNotification":   {Verb: "create", Resource: "auditevents"},
	"queryAuditEvents":     {Verb: "get", Resource: "auditevents"},
	"exportAuditEvents":    {Verb: "get", Resource: "auditevents"},
	"followAuditEvents":    {Verb: "get", Resource: "auditevents"},
	"summarizeAuditEvents": {Verb: "get", Resource: "auditevents"},
	"checkExecutionTrail":  {Verb: "get", Resource: "auditevents"},
	"listHolds":            {Verb: "hold", Resource: "auditevents"},
	"placeHold":            {Verb: "hold", Resource: "auditevents"},
	"releaseHold":          {Verb: "hold", Resource: "auditevents"},
	"planRetention":        {Verb: "admin", Resource: "auditevents"},
	"runRetention":         {Verb: "admin", Resource: "auditevents"},
	"listParkedEvents":     {Verb: "admin", Resource: "auditevents"},
	"retryParkedEvents":    {Verb: "admin", Resource: "auditevents"},
	"purgeParkedEvents":    {Verb: "admin", Resource: "auditevents"},
	"listWorkflows":        {Verb: "get", Resource: "workflows"},
	"listWorkflowVersions": {Verb: "get", Resource: "workflows"},
	"getWorkflow":          {Verb: "get", Resource: "workflows"},
	"searchWorkflows":      {Verb: "get", Resource: "workflows"},
	"createWorkflow":       {Verb: "create", Resource: "workflows"},
	"updateWorkflow":       {Verb: "update", Resource: "workflows"},
	"disableWorkflow":      {Verb: "update", Resource: "workflows"},
}

// refusing is a gate that lets nobody do anything and keeps what was asked about.
type refusing struct{ asked []datastorage.Access }

func (*refusing) Identify(context.Context, string) (datastorage.Caller, error) {
	return datastorage.Caller{Type: "user", ID: "alice"}, nil
}

func (g *refusing) Allows(_ context.Context, _ datastorage.Caller, a datastorage.Access) (bool, error) {
	g.asked = append(g.asked, a)
	return false, nil
}

// TestEachOperationNeedsItsRight asks for each operation of the contract as somebody who
// may do nothing: which right is asked about, and that there is none without.
func TestEachOperationNeedsItsRight(t *testing.T) {
	for path, item := range newContract(t).doc.Paths.Map() {
		for method, operation := range item.Operations() {
			t.Run(operation.OperationID, func(t *testing.T) {
				gate := &refusing{}
				handler := datastorage.New(datastorage.Options{
					Gate: gate, Log: quietly, Metrics: datastorage.NewMetrics(), Health: healthy(true),
				}).Handler()
				named := strings.NewReplacer("{hold_id}", uuid.Max.String(), "{workflow_id}", uuid.Max.String()).Replace(path)
				res := perform(handler, request{method: method, path: named}.build(t))
				need, guarded := needs[operation.OperationID]
				switch {
				case !guarded && (operation.Tags[0] != "service" || len(gate.asked) > 0):
					t.Errorf("asks about %v; which right it needs is not said here", gate.asked)
				case guarded && (res.status != http.StatusForbidden || len(gate.asked) != 1 || gate.asked[0] != need):
					t.Errorf("%d after asking about %v, want %v", res.status, gate.asked, need)
				}
			})
		}
	}
}
