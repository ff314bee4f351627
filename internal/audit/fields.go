package audit

import "regexp"

// Limits that are not of one member alone.
const (
	MaxDataBytes = 128 << 10        // bytes of event_data in canonical form
	MaxDataDepth = 32               // arrays and objects inside one another in event_data
	MaxDuration  = int64(1)<<53 - 1 // milliseconds; the largest integer every JSON reader keeps
)

// Field is the rule for one member of an event that holds text.
type Field struct {
	Name     string         // in JSON, in a query, and of the column
	Max      int            // characters (Unicode code points)
	Required bool           // a required member is not empty
	Pattern  *regexp.Regexp // nil: any text
	Get      func(*Event) string
}

// Fields are the rules for all members that hold text. The HTTP contract and
// the columns of the database carry the same numbers, and a test compares them.
var Fields = []Field{
	{Name: "version", Max: 20, Required: true, Get: func(e *Event) string { return e.Version }},
	{Name: "event_type", Max: 100, Required: true, Get: func(e *Event) string { return e.EventType }},
	{
		Name: "event_category", Max: 50, Required: true, Pattern: regexp.MustCompile(`^[a-z][a-z0-9_.-]*$`),
		Get: func(e *Event) string { return e.EventCategory },
	},
	{Name: "event_action", Max: 50, Required: true, Get: func(e *Event) string { return e.EventAction }},
	{Name: "correlation_id", Max: 255, Required: true, Get: func(e *Event) string { return e.CorrelationID }},
	{Name: "actor_type", Max: 50, Get: func(e *Event) string { return e.ActorType }},
	{Name: "actor_id", Max: 255, Get: func(e *Event) string { return e.ActorID }},
	{Name: "resource_type", Max: 100, Get: func(e *Event) string { return e.ResourceType }},
	{Name: "resource_id", Max: 255, Get: func(e *Event) string { return e.ResourceID }},
	{Name: "resource_name", Max: 255, Get: func(e *Event) string { return e.ResourceName }},
	{Name: "namespace", Max: 253, Get: func(e *Event) string { return e.Namespace }},
	{Name: "cluster_name", Max: 253, Get: func(e *Event) string { return e.ClusterName }},
	{Name: "severity", Max: 20, Get: func(e *Event) string { return e.Severity }},
	{Name: "trace_id", Max: 64, Get: func(e *Event) string { return e.TraceID }},
	{Name: "span_id", Max: 32, Get: func(e *Event) string { return e.SpanID }},
	{Name: "error_code", Max: 100, Get: func(e *Event) string { return e.ErrorCode }},
	{Name: "error_message", Max: 8192, Get: func(e *Event) string { return e.ErrorMessage }},
}
