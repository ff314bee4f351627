package datastorage

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// stalling is a client who takes one part of an answer and then no more, until the
// deadline that was set for that.
type stalling struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
}

func (c *stalling) SetWriteDeadline(t time.Time) error {
	c.deadlines = append(c.deadlines, t)
	return nil
}

func (c *stalling) Write(b []byte) (int, error) {
	if c.Body.Len() > 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return c.ResponseRecorder.Write(b)
}

// TestWhoTakesNoAnswerIsGivenUp: each part of an answer must be taken in time, and after
// one that was not there is no other.
func TestWhoTakesNoAnswerIsGivenUp(t *testing.T) {
	client := &stalling{ResponseRecorder: httptest.NewRecorder()}
	before := time.Now()
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	if err := writeJSON(client, r, answer{http.StatusOK, strings.Repeat("x", 1<<20)}); err != nil {
		t.Fatal(err)
	}
	if len(client.deadlines) != 2 {
		t.Fatalf("%d deadlines, want one for the part that was taken and one for the next", len(client.deadlines))
	}
	for _, d := range client.deadlines {
		if d.Before(before.Add(patience)) || d.After(time.Now().Add(patience)) {
			t.Errorf("the deadline is %v after the request", d.Sub(before))
		}
	}
}
