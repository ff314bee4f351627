package datastorage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// network carries requests to a handler, loses some on the way and some answers on
// the way back.
type network struct {
	handler http.Handler
	fault   func() (lostRequest, lostAnswer bool)
}

var errLost = errors.New("connection reset")

func (n network) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	lostRequest, lostAnswer := n.fault()
	if lostRequest {
		return nil, errLost
	}
	w := httptest.NewRecorder()
	n.handler.ServeHTTP(w, r)
	if lostAnswer {
		return nil, errLost
	}
	return w.Result(), nil
}

// TestWhateverIsLostWhatIsAcknowledgedIsKept sends events over a bad network to a
// server that is busy now and then and changes its limits. Time is not real.
func TestWhateverIsLostWhatIsAcknowledgedIsKept(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) { lossy(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func lossy(t *testing.T, random *rand.Rand) {
	s := &server{t: t, limit: 1 + random.IntN(20), kept: map[string]int{}}
	s.before = func(_ int, w http.ResponseWriter) bool { // under the server's lock
		if random.IntN(10) == 0 {
			w.Header().Set("Retry-After", "2")
			problem(w, http.StatusServiceUnavailable, "busy")
			return true
		}
		if random.IntN(20) == 0 {
			s.limit = 1 + random.IntN(20)
		}
		return false
	}
	var one sync.Mutex // the source of chance is not for many at once
	chance := func() (bool, bool) {
		one.Lock()
		defer one.Unlock()
		return random.IntN(5) == 0, random.IntN(5) == 0
	}
	c, err := datastorage.New("http://datastorage", &http.Client{Transport: network{s, chance}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() {
			e := event("good")
			receipt, err := c.Record(t.Context(), e)
			s.mu.Lock()
			defer s.mu.Unlock()
			switch {
			case err == nil && (receipt.EventID != e.EventID || s.kept[e.EventID.String()] == 0):
				t.Errorf("event %s is acknowledged and not kept", e.EventID)
			case err != nil && !errors.Is(err, datastorage.ErrUnavailable):
				t.Errorf("event %s: %v", e.EventID, err)
			}
		})
	}
	callers.Wait()
}

// TestWhoComesAfterAllHaveLeftIsServed lets the only caller of a group leave while it
// gathers others, and another one come.
func TestWhoComesAfterAllHaveLeftIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{t: t, limit: 10, kept: map[string]int{}}
		c, err := datastorage.New("http://datastorage", &http.Client{Transport: network{s, func() (bool, bool) { return false, false }}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Attempts = 1
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { _, err := c.Record(ctx, event("good")); left <- err }()
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, datastorage.ErrUnavailable) {
			t.Errorf("who left got %v, want ErrUnavailable", err)
		}
		if _, err := c.Record(t.Context(), event("good")); err != nil {
			t.Errorf("who came after: %v", err)
		}
	})
}

func TestBytesOfABatchStayWithinWhatIsAnnounced(t *testing.T) {
	s := &server{}
	c := newClient(t, s)
	const limit = 2000
	s.before = func(_ int, w http.ResponseWriter) bool {
		w.Header().Set(datastorage.HeaderMaxBodyBytes, fmt.Sprint(limit))
		return false
	}
	if _, err := c.Record(t.Context(), event("good")); err != nil { // learns the limit
		t.Fatal(err)
	}
	largest := int64(0)
	s.spoil = func(int, http.ResponseWriter) bool { largest = max(largest, s.bytes); return false }
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			e := event("good")
			e.EventData = json.RawMessage(`{"text":"` + strings.Repeat("x", 200) + `"}`)
			if _, err := c.Record(context.Background(), e); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if len(s.kept) != 51 || largest > limit || s.largest < 2 {
		t.Errorf("%d events kept, in batches of at most %d events and %d bytes", len(s.kept), s.largest, largest)
	}
}

func TestABatchIsAcknowledgedOnlyByItsOwnIDs(t *testing.T) {
	for why, change := range map[string]func([]uuid.UUID) []uuid.UUID{
		"one is missing":       func(ids []uuid.UUID) []uuid.UUID { return ids[1:] },
		"in another order":     func(ids []uuid.UUID) []uuid.UUID { ids[0], ids[1] = ids[1], ids[0]; return ids },
		"one of somebody else": func(ids []uuid.UUID) []uuid.UUID { ids[0] = uuid.New(); return ids },
	} {
		listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var events []datastorage.AuditEvent
			var ids []uuid.UUID
			if json.NewDecoder(r.Body).Decode(&events) != nil {
				problem(w, http.StatusServiceUnavailable, "only batches")
				return
			}
			for _, e := range events {
				ids = append(ids, e.EventID)
			}
			_ = json.NewEncoder(w).Encode(datastorage.BatchAcknowledgement{EventIDs: change(ids)})
		}))
		t.Cleanup(listener.Close)
		c, err := datastorage.New(listener.URL, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Attempts = 1
		var callers sync.WaitGroup
		for range 20 {
			callers.Go(func() {
				if _, err := c.Record(context.Background(), event("good")); !errors.Is(err, datastorage.ErrUnavailable) {
					t.Errorf("%s: %v, want ErrUnavailable", why, err)
				}
			})
		}
		callers.Wait()
	}
}

func TestALongPauseIsTheCallersDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		in := map[string]time.Duration{"3600": time.Hour, time.Now().UTC().Add(2 * time.Hour).Format(http.TimeFormat): 2 * time.Hour}
		for header, want := range in {
			handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked++
				w.Header().Set("Retry-After", header)
				problem(w, http.StatusServiceUnavailable, "later")
			})
			c, err := datastorage.New("http://datastorage", &http.Client{Transport: network{handler, func() (bool, bool) { return false, false }}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			before := time.Now()
			_, err = c.Workflow(t.Context(), uuid.New())
			answer, ok := errors.AsType[*datastorage.Error](err)
			if !ok || answer.RetryAfter != want || time.Since(before) > time.Minute {
				t.Errorf("Retry-After: %s: %v after %s, want %s at once", header, err, time.Since(before), want)
			}
		}
		if asked != len(in) {
			t.Errorf("asked %d times", asked)
		}
	})
}

// TestALostAnswerToARegistrationIsNoSecondWorkflow loses the first answer.
func TestALostAnswerToARegistrationIsNoSecondWorkflow(t *testing.T) {
	kept := map[string]int{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var spec datastorage.WorkflowSpec
		if err := json.NewDecoder(r.Body).Decode(&spec); err != nil {
			t.Error(err)
		}
		key := spec.WorkflowName + "@" + spec.Version
		status := http.StatusCreated
		if kept[key] > 0 {
			status = http.StatusOK
		}
		kept[key]++
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(datastorage.Workflow{WorkflowName: spec.WorkflowName, Version: spec.Version})
	})
	lost := false
	once := func() (bool, bool) { was := lost; lost = true; return false, !was }
	c, err := datastorage.New("http://datastorage", &http.Client{Transport: network{handler, once}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, created, err := c.CreateWorkflow(t.Context(), datastorage.WorkflowSpec{WorkflowName: "heal", Version: "1.0.0"})
	if err != nil || created || w.WorkflowName != "heal" || len(kept) != 1 || kept["heal@1.0.0"] != 2 {
		t.Errorf("%+v, created %v, %v; kept %v", w, created, err, kept)
	}
}
