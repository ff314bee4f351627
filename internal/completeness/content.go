package completeness

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// Altered says what is wrong with an event whose content is not what the digest was
// taken of when it was recorded, or nothing.
//
// The canonical form is made anew from what a client reads, by other code than the
// writer's.
func Altered(e datastorage.StoredEvent) string {
	var data any
	if err := json.Unmarshal(e.EventData, &data); err != nil {
		return fmt.Sprintf("the data of event %s (%s) cannot be read: %v", e.EventID, e.EventType, err)
	}
	raw, err := canonical(nil, content(e, data))
	if err != nil {
		return fmt.Sprintf("event %s (%s) has no canonical form: %v", e.EventID, e.EventType, err)
	}
	sum := sha256.Sum256(raw)
	if digest := "sha256:" + hex.EncodeToString(sum[:]); digest != e.Digest {
		return fmt.Sprintf("event %s (%s) is not what was recorded: its digest is %s, that of the record is %s",
			e.EventID, e.EventType, digest, e.Digest)
	}
	return ""
}

// content is every member of an event that its client sent; absent ones are null.
func content(e datastorage.StoredEvent, data any) map[string]any {
	c := map[string]any{
		"event_id": e.EventID.String(), "event_data": data, "duration_ms": nil, "parent_event_id": nil,
		"event_timestamp": e.EventTimestamp.UTC().Format("2006-01-02T15:04:05.000000Z"),
	}
	if e.DurationMS != nil {
		c["duration_ms"] = float64(*e.DurationMS)
	}
	if e.ParentEventID != uuid.Nil {
		c["parent_event_id"] = e.ParentEventID.String()
	}
	for name, text := range map[string]string{
		"version": e.Version, "event_type": e.EventType, "event_category": e.EventCategory, "event_action": e.EventAction,
		"event_outcome": string(e.EventOutcome), "correlation_id": e.CorrelationID, "resource_type": e.ResourceType,
		"resource_id": e.ResourceID, "resource_name": e.ResourceName, "namespace": e.Namespace,
		"cluster_name": e.ClusterName, "severity": e.Severity, "trace_id": e.TraceID, "span_id": e.SpanID,
		"error_code": e.ErrorCode, "error_message": e.ErrorMessage,
	} {
		if c[name] = text; text == "" {
			c[name] = nil
		}
	}
	return c
}
