package plan

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	cluster   = Object{Kind: "Cluster", Name: "local"}
	system    = Object{Kind: "Namespace", Name: "kubernaut-system"}
	password  = Object{Kind: "Secret", Namespace: "kubernaut-system", Name: "postgresql"}
	database  = Object{Kind: "Database", Namespace: "kubernaut-system", Name: "kubernaut"}
	initSQL   = Object{Kind: "ConfigMap", Namespace: "kubernaut-system", Name: "postgresql-init"}
	image     = Object{Kind: "Image", Name: "postgresql"}
	serving   = Object{Kind: "Deployment", Namespace: "kubernaut-system", Name: "datastorage"}
	otherPlan = Object{Kind: "ConfigMap", Namespace: "kubernaut-system", Name: "extra"}
)

func of(objects ...Object) []Need {
	needs := make([]Need, len(objects))
	for i, o := range objects {
		needs[i] = Need{Of: o}
	}
	return needs
}

// small is a valid plan in the wrong order.
func small() []Step {
	return []Step{
		{Name: "datastorage", Provides: []Object{serving}, Needs: of(database, system), Expected: 3 * time.Second},
		{Name: "postgresql", Provides: []Object{database, initSQL}, Needs: []Need{
			{By: initSQL, Of: system}, {Of: image}, {By: database, Of: password.WithKey("owner-password")},
			{By: initSQL, Of: otherPlan, Optional: true},
		}, Expected: 5 * time.Second},
		{Name: "secrets", Provides: []Object{password, password.WithKey("owner-password")}, Needs: of(system), Expected: time.Second},
		{Name: "namespaces", Provides: []Object{system}, Needs: of(cluster), Expected: time.Second},
		{Name: "images", Provides: []Object{image}, Weight: 1, Expected: 4 * time.Second},
		{Name: "cluster", Provides: []Object{cluster}, Weight: 1, Expected: 10 * time.Second},
	}
}

func mustOf(t *testing.T, steps ...Step) *Plan {
	t.Helper()
	p, err := Of(steps...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOrderRespectsNeedsAndIsStable(t *testing.T) {
	p := mustOf(t, small()...)
	want := []string{"images", "cluster", "namespaces", "secrets", "postgresql", "datastorage"}
	if diff := cmp.Diff(want, p.names()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"images", "namespaces", "secrets"}, p.After("postgresql")); diff != "" {
		t.Error(diff)
	}
	if by, ok := p.Provider(database); !ok || by != "postgresql" {
		t.Errorf("the database is provided by %q, %v", by, ok)
	}
}

func TestRefused(t *testing.T) {
	a, b, c := Object{Kind: "Secret", Name: "a"}, Object{Kind: "Secret", Name: "b"}, Object{Kind: "Secret", Name: "c"}
	cases := []struct {
		why   string
		steps []Step
		want  string
	}{
		{"the object and the namespace it lacks are named", []Step{
			{Name: "postgresql", Provides: []Object{initSQL}, Needs: []Need{{By: initSQL, Of: system}}},
		}, `postgresql: ConfigMap "postgresql-init" needs Namespace "kubernaut-system", which no component provides`},
		{"inside one namespace it is not repeated", []Step{
			{Name: "postgresql", Needs: []Need{{By: initSQL, Of: password.WithKey("owner")}}},
		}, `postgresql: ConfigMap "postgresql-init" needs key "owner" of Secret "postgresql", which no component provides`},
		{"across namespaces it is said", []Step{
			{Name: "runner", Needs: []Need{{By: Object{Kind: "Pod", Namespace: "elsewhere", Name: "p"}, Of: password}}},
		}, `runner: Pod "p" needs Secret "postgresql" in kubernaut-system, which no component provides`},
		{"a key that its ConfigMap lacks", []Step{
			{Name: "secrets", Provides: []Object{password}}, {Name: "postgresql", Needs: of(password.WithKey("owner"))},
		}, `postgresql needs key "owner" of Secret "postgresql" in kubernaut-system, which no component provides`},
		{"everything at once, sorted", []Step{
			{Name: "z", Needs: of(b)}, {Name: "a", Needs: of(c, a)},
		}, "a needs Secret \"a\", which no component provides\na needs Secret \"c\", which no component provides\nz needs Secret \"b\", which no component provides"},
		{"two providers", []Step{
			{Name: "x", Provides: []Object{a}}, {Name: "y", Provides: []Object{a}},
		}, `y: Secret "a" is provided by x already`},
		{"a cycle, without the step in front of it", []Step{
			{Name: "front", Needs: of(a)},
			{Name: "x", Provides: []Object{a}, Needs: of(b)}, {Name: "y", Provides: []Object{b}, Needs: of(a)},
		}, `steps wait for each other: x needs Secret "b" of y, y needs Secret "a" of x`},
		{"an optional need can close a cycle too", []Step{
			{Name: "x", Provides: []Object{a}, Needs: []Need{{Of: b, Optional: true}}}, {Name: "y", Provides: []Object{b}, Needs: of(a)},
		}, `steps wait for each other: x needs Secret "b" of y, y needs Secret "a" of x`},
		{"two steps of one name", []Step{{Name: "x"}, {Name: "x"}}, "x: two steps have this name"},
		{"no name", []Step{{Name: " "}}, "a step that provides [] has no name"},
		{"less than no time", []Step{{Name: "x", Expected: -1}}, "x: weight 0, expected -1ns and limit 0s must not be negative"},
	}
	for _, c := range cases {
		t.Run(c.why, func(t *testing.T) {
			_, err := Of(c.steps...)
			if err == nil {
				t.Fatalf("accepted; want %s", c.want)
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOwnThingsAreNoNeedOfOthers(t *testing.T) {
	p := mustOf(t, Step{Name: "x", Provides: []Object{system}, Needs: of(system)})
	if after := p.After("x"); len(after) > 0 {
		t.Errorf("x waits for %v", after)
	}
}

func TestWithoutAnyOneStepThePlanIsRefused(t *testing.T) {
	needed := map[string]string{
		"cluster": "namespaces", "namespaces": "secrets", "secrets": "postgresql", "images": "postgresql", "postgresql": "datastorage",
	}
	for without, first := range needed {
		var rest []Step
		for _, s := range small() {
			if s.Name != without {
				rest = append(rest, s)
			}
		}
		_, err := Of(rest...)
		if err == nil || !strings.Contains(err.Error(), first) {
			t.Errorf("without %s: %v; want a message that names %s", without, err, first)
		}
	}
}

func TestCriticalPath(t *testing.T) {
	p := mustOf(t, small()...)
	path, total := p.Critical()
	if diff := cmp.Diff([]string{"cluster", "namespaces", "secrets", "postgresql", "datastorage"}, path); diff != "" {
		t.Error(diff)
	}
	if total != 20*time.Second {
		t.Errorf("total %s, want 20s", total)
	}
	if left := p.Remaining("images"); left != 12*time.Second {
		t.Errorf("from images on %s, want 12s", left)
	}
}

func TestOnly(t *testing.T) {
	p := mustOf(t, small()...)
	part, err := p.Only("secrets", "images")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"images", "cluster", "namespaces", "secrets"}, part.names()); diff != "" {
		t.Error(diff)
	}
	_, err = p.Only("postgres")
	if err == nil || !strings.Contains(err.Error(), `no step "postgres"; its steps are images, cluster`) {
		t.Errorf("got %v", err)
	}
}

func TestText(t *testing.T) {
	want := `6 steps; critical path 20s: cluster → namespaces → secrets → postgresql → datastorage
├─ images  4s
└─ cluster  10s
   └─ namespaces  1s
      └─ secrets  1s
         └─ postgresql  5s  [also after images, namespaces]
            └─ datastorage  3s  [also after namespaces]
`
	if diff := cmp.Diff(want, mustOf(t, small()...).Text()); diff != "" {
		t.Error(diff)
	}
}

func TestDOT(t *testing.T) {
	dot := mustOf(t, small()...).DOT()
	for _, want := range []string{
		`"cluster" [label="cluster\n10s", style=bold];`,
		`"images" [label="images\n4s"];`,
		`"secrets" -> "postgresql" [label="Secret postgresql"];`,
	} {
		if !strings.Contains(dot, want) {
			t.Errorf("no %s in\n%s", want, dot)
		}
	}
}

func TestJSON(t *testing.T) {
	raw, err := json.Marshal(mustOf(t, small()...))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Steps []struct {
			Name            string
			After           []string
			ExpectedSeconds float64
		}
		Critical struct{ ExpectedSeconds float64 }
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	last := strings.TrimSpace(fmt.Sprintln(got.Steps[5].Name, got.Steps[5].After, got.Steps[5].ExpectedSeconds, got.Critical.ExpectedSeconds))
	if want := "datastorage [namespaces postgresql] 3 20"; last != want {
		t.Errorf("got %s, want %s", last, want)
	}
}

func TestPlanCannotAct(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(out)) {
		if p == "context" || p == "os" || strings.HasPrefix(p, "os/") || p == "net" || strings.HasPrefix(p, "net/") || strings.Contains(p, "client-go") {
			t.Errorf("a pure package imports %s", p)
		}
	}
}
