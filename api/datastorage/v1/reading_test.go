package datastorage_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// serving answers the i-th request, counted from 1, as a test says.
func serving(t *testing.T, answer func(i int, w http.ResponseWriter, r *http.Request)) *datastorage.Client {
	t.Helper()
	i := 0
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i++
		answer(i, w, r)
	}))
	t.Cleanup(listener.Close)
	c, err := datastorage.New(listener.URL, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFollowGoesOnAfterTheLastCursorWhenTheConnectionBreaks(t *testing.T) {
	var asked []string
	c := serving(t, func(i int, w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		switch i {
		case 1:
			_, _ = io.WriteString(w, ": hello\n\nid: a\nevent: audit\ndata: {\"event_type\":\"one\"}\n\nid: b\n\nid: c\nda")
			_ = http.NewResponseController(w).Flush()
			hangUp(w)
		case 2:
			problem(w, http.StatusServiceUnavailable, "ending")
		case 3:
			_, _ = io.WriteString(w, "id:c\r\nevent:audit\r\ndata:{\"event_type\":\r\ndata:\"two\"}\r\n\r\n")
		default:
			problem(w, http.StatusForbidden, "no more")
		}
	})
	var got []string
	var last error
	for e, err := range c.Follow(t.Context(), datastorage.FollowAuditEventsParams{From: "beginning", EventType: "x"}) {
		if last = err; err == nil {
			got = append(got, e.Cursor+" "+e.EventType)
		}
	}
	if diff := cmp.Diff([]string{"a one", "c two"}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	want := []string{"event_type=x&from=beginning", "cursor=b&event_type=x", "cursor=b&event_type=x", "cursor=c&event_type=x"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if !errors.Is(last, datastorage.ErrForbidden) {
		t.Errorf("ended with %v, want ErrForbidden", last)
	}
}

func TestAnExportThatDoesNotSayHowManyIsNotWhole(t *testing.T) {
	for _, whole := range []bool{true, false} {
		c := serving(t, func(_ int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", datastorage.TrailerEvents)
			_, _ = fmt.Fprintln(w, r.URL.Query()["event_data"])
			if whole {
				w.Header().Set(datastorage.TrailerEvents, "1")
			}
		})
		var out bytes.Buffer
		n, err := c.Export(t.Context(), datastorage.ExportAuditEventsParams{EventData: []string{"a=1", "b"}}, &out)
		if whole && (err != nil || n != 1 || out.String() != "[a=1 b]\n") {
			t.Errorf("%d events, %q: %v", n, out.String(), err)
		}
		if !whole && !errors.Is(err, datastorage.ErrUnavailable) {
			t.Errorf("an export without its end: %v, want ErrUnavailable", err)
		}
	}
}
