package datastorage

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/google/uuid"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// notificationSpace is the name space of the ids of notifications' events.
var notificationSpace = uuid.MustParse("c0a3f6c2-5a55-5f3e-8c1b-0b7f0c6f2d11")

// notificationField is the rule for one member of a notification that holds text.
type notificationField struct {
	name     string
	max      int
	required bool
	get      func(*api.Notification) string
}

// notificationFields are the rules for all members that hold text. A test compares
// them with the contract.
var notificationFields = []notificationField{
	{"remediation_id", 255, true, func(n *api.Notification) string { return n.RemediationID }},
	{"notification_id", 255, true, func(n *api.Notification) string { return n.NotificationID }},
	{"recipient", 255, true, func(n *api.Notification) string { return n.Recipient }},
	{"channel", 50, true, func(n *api.Notification) string { return n.Channel }},
	{"message_summary", 8192, true, func(n *api.Notification) string { return n.MessageSummary }},
	{"error_message", 8192, false, func(n *api.Notification) string { return n.ErrorMessage }},
}

// maxEscalation is the highest level that a notification may be escalated to.
const maxEscalation = 100

// notificationOutcomes say what each status means for an event.
var notificationOutcomes = map[api.NotificationStatus]api.EventOutcome{
	api.NotificationStatusSent:         api.EventOutcomeSuccess,
	api.NotificationStatusAcknowledged: api.EventOutcomeSuccess,
	api.NotificationStatusFailed:       api.EventOutcomeFailure,
	api.NotificationStatusEscalated:    api.EventOutcomePending,
}

// CreateNotification records that somebody was notified, once.
func (s *Server) CreateNotification(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, Access{"create", auditEvents}, func(ctx context.Context, who Caller) (answer, error) {
		var n api.Notification
		if err := s.readJSON(w, r, &n); err != nil {
			return answer{}, err
		}
		if problems := checkNotification(&n); len(problems) > 0 {
			return answer{}, invalid("nothing was kept; correct the fields named and send it again", problems...)
		}
		event := notificationEvent(&n)
		if s.recorder.isParked(ctx, event.EventID) {
			return answer{}, alreadyNotified
		}
		sealed, outcome, err := s.record(ctx, who, []api.AuditEvent{event}, func(int) string { return "" })
		if err != nil {
			return answer{}, aboutNotification(err)
		}
		if outcome == Known {
			return answer{}, alreadyNotified
		}
		a := acknowledgements[outcome]
		return answer{a.status, api.NotificationAcknowledgement{
			NotificationID: n.NotificationID, EventID: sealed[0].Event.EventID,
			EventTimestamp: sealed[0].Event.EventTimestamp, Message: a.message,
		}}, nil
	})
}

func checkNotification(n *api.Notification) (found []api.FieldProblem) {
	object := func(field, message string) {
		found = append(found, api.FieldProblem{Field: field, Message: message})
	}
	for _, f := range notificationFields {
		switch text := f.get(n); {
		case text == "" && f.required:
			object(f.name, "is required")
		case utf8.RuneCountInString(text) > f.max:
			object(f.name, fmt.Sprintf("is longer than %d characters", f.max))
		}
	}
	if !n.Status.Valid() {
		object("status", "must be sent, failed, acknowledged or escalated")
	}
	if n.EscalationLevel < 0 || n.EscalationLevel > maxEscalation {
		object("escalation_level", fmt.Sprintf("must be between 0 and %d", maxEscalation))
	}
	return found
}

// notificationEvent is the event that a notification is kept as. Its id is derived
// from that of the notification.
func notificationEvent(n *api.Notification) api.AuditEvent {
	data, err := json.Marshal(n)
	if err != nil {
		panic(err) // strings, an integer and a time
	}
	return api.AuditEvent{
		EventID: uuid.NewSHA1(notificationSpace, []byte(n.NotificationID)),
		Version: "1", EventCategory: "notification", EventType: "notification." + string(n.Status), EventAction: string(n.Status),
		EventOutcome: notificationOutcomes[n.Status], EventTimestamp: n.SentAt, CorrelationID: n.RemediationID,
		ResourceType: "Notification", ResourceID: n.NotificationID, ErrorMessage: n.ErrorMessage, EventData: data,
	}
}

// alreadyNotified is the answer to a notification_id that is used.
var alreadyNotified = &problem{
	status: http.StatusConflict, kind: "conflict",
	detail: "this notification is recorded already, and it is recorded once; a new one needs a new notification_id",
	fields: []api.FieldProblem{{Field: "notification_id", Message: "names a notification that is recorded already"}},
}

// aboutNotification names the members of the notification instead of those of its event.
func aboutNotification(err error) error {
	p := problemOf(err)
	if p.status == http.StatusConflict {
		return alreadyNotified
	}
	renamed := map[string]string{"event_timestamp": "sent_at", "correlation_id": "remediation_id", "resource_id": "notification_id"}
	for i, f := range p.fields {
		if name, ok := renamed[f.Field]; ok {
			p.fields[i].Field = name
		}
	}
	return p
}
