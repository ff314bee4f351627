package environment

import (
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

func limits(names ...string) []component {
	all := make([]component, len(names))
	for i, name := range names {
		all[i] = component{Step: plan.Step{Name: name, Expected: time.Second}}
	}
	return all
}

func TestLimitsComeFromWhatWasMeasured(t *testing.T) {
	known := timings{Fresh: map[string][]float64{"tekton": {12, 60, 14}, "dns": {2, 3, 4}, "build-tekton": {0.1}, "push-tekton": {600, 601}}}
	all := limits("tekton", "dns", "new", "build-tekton", "push-tekton")
	known.expect(all, false)
	for i, want := range []struct{ expected, limit time.Duration }{
		{14 * time.Second, 5 * time.Minute}, {3 * time.Second, shortest}, {time.Second, unmeasured}, {time.Second, compiling}, {601 * time.Second, 45 * time.Minute},
	} {
		if all[i].Expected != want.expected || all[i].Limit != want.limit {
			t.Errorf("%s: expected %s, limit %s; want %s, %s", all[i].Name, all[i].Expected, all[i].Limit, want.expected, want.limit)
		}
	}
}

func TestWhatMayPullHasItsTime(t *testing.T) {
	for _, known := range []timings{{}, {Fresh: map[string][]float64{"cluster": {9, 9}}}} {
		all := limits("cluster")
		all[0].Limit = pulling
		known.expect(all, false)
		if all[0].Limit != pulling {
			t.Errorf("with %v known the limit is %s, want %s", known.Fresh, all[0].Limit, pulling)
		}
	}
}

func TestKindsOfClustersAreMeasuredApart(t *testing.T) {
	t.Setenv("KUBERNAUT_CACHE", t.TempDir())
	files := map[string]string{}
	for _, kind := range []string{Local, Kind} {
		w, err := newWorld(Options{Name: "test", Place: Place{Cluster: kind}})
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := files[w.timingsFile()]; ok {
			t.Errorf("%s and %s share %s", kind, other, w.timingsFile())
		}
		files[w.timingsFile()] = kind
	}
}

func TestEveryLimitCanBeOverridden(t *testing.T) {
	all := limits("tekton", "dns")
	if err := limit(all, map[string]time.Duration{"tekton": time.Hour, "all": time.Minute}); err != nil {
		t.Fatal(err)
	}
	if all[0].Limit != time.Hour || all[1].Limit != time.Minute {
		t.Errorf("got %s and %s", all[0].Limit, all[1].Limit)
	}
	if err := limit(all, map[string]time.Duration{"nats": time.Minute}); err == nil || !strings.Contains(err.Error(), `"nats"`) {
		t.Errorf("a step that does not exist: %v", err)
	}
}
