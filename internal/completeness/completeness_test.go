package completeness

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// trail makes events of one execution, a second apart. A word is a transition,
// perhaps with a colon and the event's data.
func trail(words ...string) (events []datastorage.StoredEvent) {
	for i, w := range words {
		action, data, ok := strings.Cut(w, ":")
		if !ok {
			data = "{}"
		}
		events = append(events, datastorage.StoredEvent{
			EventID: uuid.NewSHA1(uuid.Nil, []byte(w)), EventCategory: Category, EventAction: action, ResourceID: "uid",
			EventTimestamp: noon.Add(time.Duration(i) * time.Second), EventData: json.RawMessage(data),
		})
	}
	return events
}

func TestOf(t *testing.T) {
	for _, c := range []struct {
		why    string
		trail  []datastorage.StoredEvent
		known  []string
		state  datastorage.CompletenessState
		gaps   string
		object string // a part of the problem
	}{
		{why: "a run that completed", trail: trail("created", "locked", "started", "completed"), state: "complete"},
		{why: "skipped, so it never held the target", trail: trail("created", "skipped"), state: "complete"},
		{why: "failed before it held the target", trail: trail("created", "failed"), state: "complete"},
		{why: "it goes on", trail: trail("created", "locked"), state: "open"},
		{why: "every execution is created", trail: trail("skipped"), state: "broken", gaps: "created"},
		{why: "only a run completes, and only a holder runs", trail: trail("created", "completed"), state: "broken", gaps: "locked started"},
		{why: "only a holder runs", trail: trail("created", "started"), state: "broken", gaps: "locked"},
		{
			why: "user code started", trail: trail("created", `failed:{"failure":{"user_code_started":true}}`),
			state: "broken", gaps: "locked started",
		},
		{
			why: "the ending names what came before", trail: trail("created", `failed:{"preceded_by":["created","locked","started"]}`),
			state: "broken", gaps: "locked started",
		},
		{why: "somebody knows that it ended", trail: trail("created"), known: []string{"completed"}, state: "broken", gaps: "locked started completed"},
		{why: "nothing is there, and somebody knows of it", known: []string{"created"}, state: "broken", gaps: "created"},
		{why: "two endings", trail: trail("created", "skipped", "cancelled"), state: "broken", object: "it ended twice: skipped, and cancelled"},
		{why: "twice the same", trail: trail("created", "created:{ }"), state: "broken", object: "created is there twice"},
		{why: "out of order", trail: trail("created", "started", "locked"), state: "broken", object: "locked stands at 2026-03-01T12:00:02Z, after started at"},
		{why: "skipped after it was started", trail: trail("created", "locked", "started", "skipped"), state: "broken", object: "it was skipped, and yet it was started"},
		{why: "a word of another language", trail: trail("created", "exploded"), state: "broken", object: "exploded is no transition"},
		{why: "data of another shape", trail: trail("created", `failed:{"failure":"yes"}`), state: "broken", object: "the data of failed cannot be read"},
	} {
		t.Run(c.why, func(t *testing.T) {
			stranger := datastorage.StoredEvent{EventCategory: "notification", EventAction: "sent", ResourceID: "uid", EventData: json.RawMessage(`{}`)}
			var known []datastorage.Transition
			for _, action := range c.known {
				known = append(known, datastorage.Transition{Action: action, Because: "I saw it"})
			}
			got := Of("uid", append(c.trail, stranger), known...)
			var gaps []string
			for _, g := range got.Gaps {
				gaps = append(gaps, g.Action)
			}
			if got.State != c.state || strings.Join(gaps, " ") != c.gaps || len(got.Present) != len(c.trail) {
				t.Errorf("%s, gaps %v, %d present; want %s, %s", got.State, gaps, len(got.Present), c.state, c.gaps)
			}
			if problems := strings.Join(got.Problems, "\n"); (problems != "") != (c.object != "") || !strings.Contains(problems, c.object) {
				t.Errorf("problems %q, want %q", problems, c.object)
			}
		})
	}
}

// TestAlteredKeepsToTheGoldenVectors takes the digests of the writer's vectors, by
// other code than the writer's.
func TestAlteredKeepsToTheGoldenVectors(t *testing.T) {
	raw, err := os.ReadFile("../audit/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Why    string                  `json:"why"`
		Event  datastorage.StoredEvent `json:"event"`
		Digest string                  `json:"digest"`
	}
	if err := json.Unmarshal(raw, &vectors); err != nil || len(vectors) < 9 {
		t.Fatalf("%d vectors: %v", len(vectors), err)
	}
	for _, v := range vectors {
		v.Event.EventTimestamp = v.Event.EventTimestamp.Truncate(time.Microsecond)
		v.Event.Digest = v.Digest
		if wrong := Altered(v.Event); wrong != "" {
			t.Errorf("%s: %s", v.Why, wrong)
		}
		v.Event.Severity += "!"
		if wrong := Altered(v.Event); !strings.Contains(wrong, "is not what was recorded") {
			t.Errorf("%s: another content passes: %q", v.Why, wrong)
		}
	}
}

func TestCanonical(t *testing.T) {
	for _, c := range []struct{ why, json, want string }{
		{"members stand in the order of UTF-16", `{"\ufb33":1,"\ud83d\ude00":2,"€":3,"1":4,"\r":5,"ö":6}`, "{\"\\r\":5,\"1\":4,\"ö\":6,\"€\":3,\"\U0001f600\":2,\"\ufb33\":1}"},
		{"numbers as JavaScript writes them", `[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001,-0,1e21,1e20,1e-7]`, `[333333333.3333333,1e+30,4.5,0.002,1e-27,0,1e+21,100000000000000000000,1e-7]`},
		{"strings escape what they must", `"\u20ac$\u000F\nA'B\"\\\\\"\/\u2028<&>"`, "\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\u2028<&>\""},
		{"nothing else changes", `{"a":[true,false,null,{}]}`, `{"a":[true,false,null,{}]}`},
	} {
		var v any
		if err := json.Unmarshal([]byte(c.json), &v); err != nil {
			t.Fatal(err)
		}
		got, err := canonical(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.why, diff)
		}
	}
}
