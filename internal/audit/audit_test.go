package audit

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for p := range strings.FieldsSeq(string(out)) {
		if p == "context" || p == "os" || strings.HasPrefix(p, "net") || strings.Contains(p, "pgx") {
			t.Errorf("package audit imports %s, so it is not pure", p)
		}
	}
}

// vector is an event with what Seal must make of it.
type vector struct {
	Why     string `json:"why"`
	Event   Event  `json:"event"`
	Content string `json:"content"`
	Digest  string `json:"digest"`
}

func vectors(t *testing.T) []vector {
	t.Helper()
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 9 {
		t.Fatalf("testdata/vectors.json has %d vectors, want at least 9", len(all))
	}
	return all
}

func TestSealKeepsToTheGoldenVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Why, func(t *testing.T) {
			sealed, err := Seal(v.Event)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(v.Content, string(sealed.Content)); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			if got := sealed.Digest.String(); got != v.Digest {
				t.Errorf("digest %s, want %s", got, v.Digest)
			}
		})
	}
}

func TestOpenReadsWhatSealWrote(t *testing.T) {
	for _, v := range vectors(t) {
		want, err := Seal(v.Event)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Open(want.Content)
		if err != nil {
			t.Fatalf("%s: %v", v.Why, err)
		}
		want.Event.ActorType, want.Event.ActorID = "", ""
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-sealed +opened):\n%s", v.Why, diff)
		}
	}
}

func TestOpenRefusesContentThatSealWouldNotWrite(t *testing.T) {
	sealed, err := Seal(vectors(t)[0].Event)
	if err != nil {
		t.Fatal(err)
	}
	for why, content := range map[string]string{
		"a space more":      strings.Replace(string(sealed.Content), ",", ", ", 1),
		"cut short":         string(sealed.Content[:len(sealed.Content)-1]),
		"an unknown member": strings.Replace(string(sealed.Content), "{", `{"a":null,`, 1),
		"empty":             "",
	} {
		if _, err := Open([]byte(content)); err == nil {
			t.Errorf("%s: opened without an error", why)
		}
	}
}

func TestTheActorIsNotContent(t *testing.T) {
	e := vectors(t)[0].Event
	one, err := Seal(e)
	if err != nil {
		t.Fatal(err)
	}
	e.ActorID, e.ActorType = "mallory", "user"
	other, err := Seal(e)
	if err != nil {
		t.Fatal(err)
	}
	if !one.SameContent(other) {
		t.Error("another actor makes another event")
	}
}

func TestEventIDIsDerived(t *testing.T) {
	got := EventID("0a0f3b8e-9f3c-4b6a-8c1e-2f9a7d5b6c4d", "started")
	if want := uuid.MustParse("24229714-c95d-5b13-ab0f-8a28b412eeea"); got != want {
		t.Errorf("EventID is %s, want %s", got, want)
	}
	if got == EventID("0a0f3b8e-9f3c-4b6a-8c1e-2f9a7d5b6c4d", "completed") {
		t.Error("two transitions have one id")
	}
}

func TestSealRefusesDataThatWouldChange(t *testing.T) {
	deep := strings.Repeat(`{"a":`, MaxDataDepth+1) + "1" + strings.Repeat("}", MaxDataDepth+1)
	for _, c := range []struct{ why, data, field string }{
		{"absent", ``, "event_data"},
		{"not an object", `[1]`, "event_data"},
		{"cut short", `{"a":1`, "event_data"},
		{"a repeated member", `{"a":1,"a":2}`, "event_data/a"},
		{"bytes after it", `{} {}`, "event_data"},
		{"U+0000 in a value", `{"a":["\u0000"]}`, "event_data/a/0"},
		{"U+0000 in a name", `{"\u0000":1}`, "event_data/\x00"},
		{"half a surrogate pair", `{"a":"\ud800"}`, "event_data/a"},
		{"broken UTF-8", "{\"a\":\"\xff\"}", "event_data/a"},
		{"an integer too long for a double", `{"a":{"b":12345678901234567891}}`, "event_data/a/b"},
		{"a fraction too fine for a double", `{"a":0.1000000000000000055511151231257827}`, "event_data/a"},
		{"a number too large", `{"a":1e400}`, "event_data/a"},
		{"a number too small", `{"a":1e-400}`, "event_data/a"},
		{"too deep", deep, "event_data" + strings.Repeat("/a", MaxDataDepth)},
		{"too long", `{"a":"` + strings.Repeat("x", MaxDataBytes) + `"}`, "event_data"},
	} {
		t.Run(c.why, func(t *testing.T) {
			e := vectors(t)[0].Event
			e.EventData = json.RawMessage(c.data)
			_, err := Seal(e)
			fieldErr, ok := errors.AsType[*FieldError](err)
			if !ok {
				t.Fatalf("error is %v, want a *FieldError", err)
			}
			if fieldErr.Field != c.field {
				t.Errorf("the error names %q, want %q: %v", fieldErr.Field, c.field, err)
			}
		})
	}
}

func TestSealTakesEveryNumberItCanKeep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.Float64().Filter(func(f float64) bool { return f-f == 0 }).Draw(t, "f")
		text, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		if !isDouble(string(text)) {
			t.Errorf("%s is refused", text)
		}
		if !isDouble(string(text)+"e0") && !strings.Contains(string(text), "e") {
			t.Errorf("%se0 is refused", text)
		}
	})
}

func TestSealIsTheSameForTheSameEvent(t *testing.T) {
	e := vectors(t)[0].Event
	want, err := Seal(e)
	if err != nil {
		t.Fatal(err)
	}
	e.EventData = json.RawMessage(" \n" + strings.ReplaceAll(string(e.EventData), ":", " :\t"))
	e.EventTimestamp = e.EventTimestamp.In(time.FixedZone("", 5*3600+1800)).Add(300 * time.Nanosecond)
	got, err := Seal(e)
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != want.Digest {
		t.Errorf("white space, time zone or nanoseconds change the digest:\n%s\n%s", want.Content, got.Content)
	}
}
