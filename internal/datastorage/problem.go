package datastorage

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// problem is an error with the answer that a client gets for it.
type problem struct {
	status     int
	kind       string // the end of the problem's type
	detail     string // what is wrong and what to do
	fields     []api.FieldProblem
	retryAfter int   // seconds; 0: not said
	cause      error // for the log, never for the client
}

func (p *problem) Error() string {
	if p.cause != nil {
		return fmt.Sprintf("%s: %v", p.detail, p.cause)
	}
	return p.detail
}

func (p *problem) Unwrap() error { return p.cause }

// typeBase is what the types of problems begin with. They are names, not pages.
const typeBase = "https://kubernaut.ai/problems/"

// classes says what each class of error means to a client. The first that matches
// decides.
var classes = []struct {
	err    error
	answer problem
}{
	{ErrUnauthenticated, problem{
		status: http.StatusUnauthorized, kind: "unauthenticated",
		detail: "send a bearer token for the audience " + api.TokenAudience + "; this one is missing, expired or not valid",
	}},
	{ErrNotFound, problem{status: http.StatusNotFound, kind: "not-found", detail: "there is no such thing; list what there is"}},
	{ErrCursor, problem{
		status: http.StatusBadRequest, kind: "invalid", detail: "the cursor is not one of these filters and this order; start again without it",
		fields: []api.FieldProblem{{Field: "cursor", Message: "is not valid here"}},
	}},
	{ErrPlace, problem{
		status: http.StatusBadRequest, kind: "invalid", detail: "name entries by the place that the list says, like 1772366400000-0",
		fields: []api.FieldProblem{{Field: "places", Message: "has something else"}},
	}},
	{ErrBroad, problem{
		status: http.StatusBadRequest, kind: "too-broad",
		detail: "this looks through more of the trail than there is time for; narrow it by time (since, until), namespace, correlation_id or another member",
	}},
	{ErrExists, problem{
		status: http.StatusConflict, kind: "conflict",
		detail: "this version is registered with other content, and a version never changes; register a new version",
	}},
	{ErrUnfit, problem{
		status: http.StatusBadRequest, kind: "invalid",
		detail: "the database cannot keep this content; nothing was kept; the instance names the reason in the log",
	}},
	{ErrFull, problem{
		status: http.StatusServiceUnavailable, kind: "full", retryAfter: 10,
		detail: "the database is away and no more events can be parked; nothing was kept, send it again later",
	}},
	{ErrAway, problem{
		status: http.StatusServiceUnavailable, kind: "unavailable", retryAfter: 1,
		detail: "nothing is known to be kept; send it again, with the same ids",
	}},
	{ErrBusy, problem{
		status: http.StatusServiceUnavailable, kind: "busy", retryAfter: 1,
		detail: "the database is too busy; nothing was kept, send it again",
	}},
}

// problemOf returns the answer for an error.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	for _, c := range classes {
		if errors.Is(err, c.err) {
			p := c.answer
			p.cause = err
			return &p
		}
	}
	return &problem{
		status: http.StatusInternalServerError, kind: "internal", cause: err,
		detail: "this is a fault of the service; the instance names it in the log",
	}
}

// invalid is the answer to a request that can never succeed as it is.
func invalid(detail string, fields ...api.FieldProblem) *problem {
	return &problem{status: http.StatusBadRequest, kind: "invalid", detail: detail, fields: fields}
}

// writeProblem answers with an error and returns the status.
func writeProblem(w http.ResponseWriter, instance string, p *problem) int {
	body, err := json.Marshal(api.Problem{
		Type: typeBase + p.kind, Title: http.StatusText(p.status), Status: p.status,
		Detail: p.detail, Instance: instance, Errors: p.fields,
	})
	if err != nil {
		panic(err) // strings and integers
	}
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	if p.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.status)
	_, _ = w.Write(body) // the client may have left
	return p.status
}
