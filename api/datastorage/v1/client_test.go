package datastorage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// server keeps events as the contract says, and spoils answers as a test wants.
type server struct {
	t      *testing.T
	limit  int                                                    // events in a batch
	spoil  func(request int, w http.ResponseWriter) (spoilt bool) // called after the events are kept
	before func(request int, w http.ResponseWriter) (done bool)   // called before they are read

	mu       sync.Mutex
	requests int
	largest  int            // batch
	bytes    int64          // of the last body
	kept     map[string]int // how often each event came, by id
	tokens   []string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.tokens = append(s.tokens, r.Header.Get("Authorization"))
	w.Header().Set(datastorage.HeaderMaxBatchEvents, strconv.Itoa(s.limit))
	if s.before != nil && s.before(s.requests, w) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
		return
	}
	s.bytes = int64(len(body))
	var events []datastorage.AuditEvent
	if !strings.HasSuffix(r.URL.Path, "/batch") {
		body = append(append([]byte("["), body...), ']')
	}
	if err := json.Unmarshal(body, &events); err != nil {
		s.t.Error(err)
	}
	s.largest = max(s.largest, len(events))
	if status, detail := s.judge(events); status != 0 {
		problem(w, status, detail)
		return
	}
	for _, e := range events {
		s.kept[e.EventID.String()]++
	}
	if s.spoil != nil && s.spoil(s.requests, w) {
		return
	}
	w.WriteHeader(http.StatusCreated)
	if !strings.HasSuffix(r.URL.Path, "/batch") {
		_ = json.NewEncoder(w).Encode(datastorage.EventAcknowledgement{EventID: events[0].EventID})
		return
	}
	var all datastorage.BatchAcknowledgement
	for _, e := range events {
		all.EventIDs = append(all.EventIDs, e.EventID)
	}
	_ = json.NewEncoder(w).Encode(all)
}

// judge refuses batches above the limit and events of the type "bad".
func (s *server) judge(events []datastorage.AuditEvent) (status int, detail string) {
	if len(events) > s.limit {
		return http.StatusRequestEntityTooLarge, "too many"
	}
	for i, e := range events {
		if e.EventType == "bad" {
			return http.StatusBadRequest, fmt.Sprintf("[%d] is bad", i)
		}
	}
	return 0, ""
}

func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(datastorage.Problem{Title: http.StatusText(status), Status: status, Detail: detail})
}

// hangUp loses an answer: the connection breaks before it is written.
func hangUp(http.ResponseWriter) { panic(http.ErrAbortHandler) }

func newClient(t *testing.T, s *server) *datastorage.Client {
	t.Helper()
	s.t, s.kept = t, map[string]int{}
	if s.limit == 0 {
		s.limit = 1000
	}
	listener := httptest.NewServer(s)
	t.Cleanup(listener.Close)
	c, err := datastorage.New(listener.URL, listener.Client(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func event(kind string) datastorage.AuditEvent {
	return datastorage.AuditEvent{EventID: uuid.New(), EventType: kind, EventData: json.RawMessage(`{}`)}
}

func TestALostAnswerIsAskedForAgainWithTheSameID(t *testing.T) {
	s := &server{spoil: func(request int, w http.ResponseWriter) bool {
		if request == 1 {
			hangUp(w)
		}
		return false
	}}
	c := newClient(t, s)
	e := event("good")
	e.EventID = uuid.Nil // given by the client, before it sends
	receipt, err := c.Record(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.kept) != 1 || s.kept[receipt.EventID.String()] != 2 {
		t.Errorf("kept %v, want one id that came twice", s.kept)
	}
}

func TestBatchesGrowNoLargerThanAnnouncedAndEveryCallerGetsAnAnswer(t *testing.T) {
	s := &server{limit: 7}
	c := newClient(t, s)
	if _, err := c.Record(t.Context(), event("good")); err != nil { // learns the limit
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() {
			if _, err := c.Record(context.Background(), event("good")); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if len(s.kept) != 101 || s.largest > 7 || s.requests >= 101 {
		t.Errorf("%d events kept in %d requests of at most %d", len(s.kept), s.requests, s.largest)
	}
}

func TestALimitThatIsLearnedTooLateCostsNoEvent(t *testing.T) {
	s := &server{limit: 2}
	c := newClient(t, s)
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if _, err := c.Record(context.Background(), event("good")); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if len(s.kept) != 20 {
		t.Errorf("%d events kept, want 20", len(s.kept))
	}
}

func TestOneBadEventIsRefusedAloneAndTheOthersAreKept(t *testing.T) {
	s := &server{}
	c := newClient(t, s)
	var callers sync.WaitGroup
	for n := range 40 {
		callers.Go(func() {
			kind := "good"
			if n == 17 {
				kind = "bad"
			}
			_, err := c.Record(context.Background(), event(kind))
			if n == 17 != errors.Is(err, datastorage.ErrInvalid) {
				t.Errorf("event %d: %v", n, err)
			}
		})
	}
	callers.Wait()
	if len(s.kept) != 39 {
		t.Errorf("%d events kept, want 39", len(s.kept))
	}
}

func TestWhatTheServerAsksToWaitIsWaited(t *testing.T) {
	var first time.Time
	s := &server{before: func(request int, w http.ResponseWriter) bool {
		if request > 1 {
			return false
		}
		first = time.Now()
		w.Header().Set("Retry-After", "1")
		problem(w, http.StatusServiceUnavailable, "busy")
		return true
	}}
	c := newClient(t, s)
	if _, err := c.Record(t.Context(), event("good")); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(first); waited < time.Second {
		t.Errorf("asked again after %s, the server asked for 1s", waited)
	}
}

func TestNoLongerWaitThanTheCallerHas(t *testing.T) {
	s := &server{before: func(_ int, w http.ResponseWriter) bool {
		w.Header().Set("Retry-After", "3600")
		problem(w, http.StatusServiceUnavailable, "come back in an hour")
		return true
	}}
	c := newClient(t, s)
	c.Attempts = 2
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := c.Record(ctx, event("good"))
	if !errors.Is(err, datastorage.ErrUnavailable) {
		t.Errorf("error is %v, want ErrUnavailable", err)
	}
}

func TestATokenThatIsRotatedIsTakenUp(t *testing.T) {
	s := &server{before: func(request int, w http.ResponseWriter) bool {
		if request == 1 {
			problem(w, http.StatusUnauthorized, "expired")
		}
		return request == 1
	}}
	newClient(t, s)
	listener := httptest.NewServer(s)
	t.Cleanup(listener.Close)
	asked := 0
	c, err := datastorage.New(listener.URL, nil, func(context.Context) (string, error) {
		asked++
		return fmt.Sprint("token-", asked), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Record(t.Context(), event("good")); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.tokens, ", "); got != "Bearer token-1, Bearer token-2" {
		t.Errorf("sent %s", got)
	}
}

func TestErrorsAreOfTheClassOfTheirStatus(t *testing.T) {
	for status, class := range map[int]error{
		400: datastorage.ErrInvalid, 401: datastorage.ErrUnauthenticated, 403: datastorage.ErrForbidden,
		404: datastorage.ErrNotFound, 409: datastorage.ErrConflict, 413: datastorage.ErrInvalid,
		429: datastorage.ErrUnavailable, 500: datastorage.ErrUnavailable, 503: datastorage.ErrUnavailable,
	} {
		s := &server{before: func(_ int, w http.ResponseWriter) bool { problem(w, status, "because"); return true }}
		c := newClient(t, s)
		c.Attempts = 1
		_, err := c.Record(t.Context(), event("good"))
		if !errors.Is(err, class) || !strings.Contains(err.Error(), "because") {
			t.Errorf("%d: %v, want %v", status, err, class)
		}
	}
}

func TestAnAnswerOfSomebodyElseIsNoSuccess(t *testing.T) {
	for _, body := range []string{"<html>welcome</html>", "{}", `{"event_id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8"}`} {
		listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, body)
		}))
		t.Cleanup(listener.Close)
		c, err := datastorage.New(listener.URL, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Attempts = 1
		if _, err := c.Record(t.Context(), event("good")); !errors.Is(err, datastorage.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", body, err)
		}
	}
}

func TestNewRefusesWhatIsNoAddress(t *testing.T) {
	for _, address := range []string{"", "datastorage:8443", "ftp://datastorage", "https://"} {
		if _, err := datastorage.New(address, nil, nil); err == nil {
			t.Errorf("%q is taken", address)
		}
	}
}

func TestAllEventsFollowsTheCursor(t *testing.T) {
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("correlation_id") != "case 1&2" || q.Get("order") != "asc" || len(q) > 3 {
			t.Errorf("query %v", q)
		}
		page := datastorage.EventPage{Data: []datastorage.StoredEvent{{EventType: "on " + q.Get("cursor")}}}
		if q.Get("cursor") != "b" {
			page.Pagination.NextCursor = map[string]string{"": "a", "a": "b"}[q.Get("cursor")]
		}
		_ = json.NewEncoder(w).Encode(page)
	}))
	t.Cleanup(listener.Close)
	c, err := datastorage.New(listener.URL, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	q := datastorage.QueryAuditEventsParams{CorrelationID: "case 1&2", Order: datastorage.QueryAuditEventsParamsOrderAsc}
	for e, err := range c.AllEvents(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.EventType)
	}
	if fmt.Sprint(got) != "[on  on a on b]" {
		t.Errorf("events %q", got)
	}
}
