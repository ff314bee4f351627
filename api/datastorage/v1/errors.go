package datastorage

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Classes of what a request can end in; ask with errors.Is.
var (
	ErrInvalid         = errors.New("refused by Data Storage")           // it will never be taken as it is
	ErrUnauthenticated = errors.New("not authenticated at Data Storage") // no token, or not a valid one
	ErrForbidden       = errors.New("forbidden by Data Storage")         // the token's owner may not
	ErrNotFound        = errors.New("not found in Data Storage")         // there is no such thing
	ErrConflict        = errors.New("in conflict with what is stored")   // the id or version names other content
	ErrUnavailable     = errors.New("not available: Data Storage")       // send it again later
)

// Error is an answer of the service that is not a success.
type Error struct {
	Problem
	RetryAfter time.Duration // how long the service asks to wait; 0: it does not say
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Data Storage: %d %s", e.Status, e.Title)
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	for _, f := range e.Errors {
		fmt.Fprintf(&b, "; %s %s", f.Field, f.Message)
	}
	return b.String()
}

// Is places the error in its class.
func (e *Error) Is(class error) bool { return class == classOf(e.Status) }

func classOf(status int) error {
	switch status {
	case http.StatusUnauthorized:
		return ErrUnauthenticated
	case http.StatusForbidden:
		return ErrForbidden
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusConflict:
		return ErrConflict
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return ErrUnavailable
	}
	if status >= 500 {
		return ErrUnavailable
	}
	return ErrInvalid
}

// refusal reads an answer that is not a success, whoever gave it.
func refusal(res *http.Response, body []byte) *Error {
	e := &Error{}
	if json.Unmarshal(body, &e.Problem) != nil || e.Title == "" {
		e.Problem = Problem{Title: http.StatusText(res.StatusCode), Detail: "the answer is not from Data Storage"}
	}
	e.Status = res.StatusCode
	e.RetryAfter = retryAfter(res.Header.Get("Retry-After"), time.Now())
	return e
}

// retryAfter reads both forms of the header: seconds, and a date. It is never
// negative.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(header); err == nil {
		return max(0, min(time.Duration(seconds), 1<<30)*time.Second)
	}
	date, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return max(0, date.Sub(now))
}

// worthRetrying says whether the same request may succeed soon. A token that was
// refused may have been rotated just now.
func worthRetrying(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnauthenticated)
}

// pause is how long to wait after an attempt, counted from 1: what the server
// asks for, else 100 ms doubled each time, with jitter.
func pause(attempt int, err error) time.Duration {
	if answer, ok := errors.AsType[*Error](err); ok && answer.RetryAfter > 0 {
		return answer.RetryAfter
	}
	backoff := 100 * time.Millisecond << min(attempt-1, 6)
	return backoff/2 + rand.N(backoff/2)
}
