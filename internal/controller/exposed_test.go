package controller_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// metric finds the names of the controller's metrics in PromQL.
var metric = regexp.MustCompile(`\b(workflowexecution|controller_runtime|workqueue|leader_election|process)_[a-z_]+`)

// TestWhatIsWatchedIsTold: every metric of the controller that an alert or a
// dashboard names is one that a running controller has.
func TestWhatIsWatchedIsTold(t *testing.T) {
	w := newWorld(t)
	w.cfg.LeaderElection = true
	w.run()
	w.succeed(w.pipelineRun(w.submit("a")))

	told := map[string]bool{}
	for _, registry := range []prometheus.Gatherer{w.metrics, metrics.Registry} {
		families, err := registry.Gather()
		w.must(err)
		for _, f := range families {
			told[f.GetName()] = true
		}
	}
	var files []string
	for _, pattern := range []string{"alerts/*.yaml", "dashboards/*.json"} {
		found, err := filepath.Glob("../../charts/kubernaut/files/" + pattern)
		w.must(err)
		files = append(files, found...)
	}
	used := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		w.must(err)
		for _, name := range metric.FindAllString(string(raw), -1) {
			used++
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base := strings.TrimSuffix(name, suffix); told[base] {
					name = base
				}
			}
			if !told[name] {
				t.Errorf("%s names %s, which no running controller tells", file, name)
			}
		}
	}
	if used == 0 {
		t.Error("no alert and no dashboard names a metric of the controller")
	}
}
