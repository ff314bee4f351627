package datastorage

import (
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// FuzzFilters: whatever stands in the parameters, reading them ends in a filter or in
// an answer that names fields.
func FuzzFilters(f *testing.F) {
	for _, seed := range []string{
		"since=24h&until=2026-01-01&event_id=6ba7b810-9dad-11d1-80b4-00c04fd430c8", "since=999999w", "received_until=0000-01-01",
		"min_duration_ms=-1&max_duration_ms=9007199254740992", "event_data=a.b=c&event_data=%22", "namespace=%ff", "event_outcome=x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		raw, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		got, err := filterOf(raw, fuzzNoon)
		if err != nil {
			if p := problemOf(err); p.status != 400 || len(p.fields) == 0 {
				t.Errorf("%q: %v", query, err)
			}
			return
		}
		for _, at := range []time.Time{got.Since, got.Until, got.ReceivedSince, got.ReceivedUntil} {
			if at.Year() < 1 || at.Year() > 9999 {
				t.Errorf("%q: the year %d is none that the database has", query, at.Year())
			}
		}
	})
}

// FuzzCursors: a cursor of a page or of the feed is one that we wrote, or refused.
func FuzzCursors(f *testing.F) {
	at := Position{Epoch: 1, XID: 1 << 40, Timestamp: fuzzNoon, EventID: uuid.Max}
	f.Add(at.String())
	f.Add(Position{}.String())
	f.Add(nextCursor(&Place{Snapshot: "1:1:", Timestamp: fuzzNoon, Total: 3}, fuzzNoon, url.Values{}))
	f.Add("1.2.3.4")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := readPosition(text); err == nil && p.String() != text {
			t.Errorf("%q is read as %s", text, p)
		}
		if place, now, err := readCursor(text, url.Values{}); err == nil {
			again, then, err := readCursor(nextCursor(place, now, url.Values{}), url.Values{})
			if diff := cmp.Diff(place, again); err != nil || diff != "" || !then.Equal(now) {
				t.Errorf("%q: %s, then %s, %v (-first +again):\n%s", text, now, then, err, diff)
			}
		}
	})
}
