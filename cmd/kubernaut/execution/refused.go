package execution

import (
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func isInvalid(err error) bool { return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) }

// causes lists what the API server objects to, field by field, without the
// values it repeats before each message.
func causes(err error) string {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || status.ErrStatus.Details == nil || len(status.ErrStatus.Details.Causes) == 0 {
		return err.Error()
	}
	var texts []string
	for _, c := range status.ErrStatus.Details.Causes {
		texts = append(texts, c.Field+": "+withoutValue(c.Message))
	}
	return strings.Join(texts, "; ")
}

// withoutValue cuts `Invalid value: <value>: ` off a message. A value ends with
// what its first character says: a quote, a brace or a bracket.
func withoutValue(message string) string {
	rest, ok := strings.CutPrefix(message, "Invalid value: ")
	if !ok || rest == "" {
		return message
	}
	end := ": "
	if i := strings.IndexByte(`"{[`, rest[0]); i >= 0 {
		end = `"}]`[i:i+1] + ": "
	}
	if _, after, ok := strings.Cut(rest, end); ok {
		return after
	}
	return "the value is not allowed"
}
