package execution

import (
	"errors"
	"regexp"
	"strconv"
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

// number is a value that the API server repeats bare, with what follows it.
var number = regexp.MustCompile(`^-?[0-9.]+: `)

// withoutValue cuts `Invalid value: <value>: ` off a message. The API server
// writes texts quoted, maps and lists the way Go does, in braces, or not at all.
func withoutValue(message string) string {
	rest, ok := strings.CutPrefix(message, "Invalid value: ")
	if !ok {
		return message
	}
	if quoted, err := strconv.QuotedPrefix(rest); err == nil {
		return strings.TrimPrefix(rest[len(quoted):], ": ")
	}
	if i := strings.LastIndex(rest, "}: "); i >= 0 {
		return rest[i+len("}: "):]
	}
	return number.ReplaceAllString(rest, "")
}
