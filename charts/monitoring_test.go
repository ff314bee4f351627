package charts

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// alert is one rule as the files have it.
type alert struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// alerts are those of every file, by file.
func alerts(t *testing.T) map[string][]alert {
	t.Helper()
	files, err := filepath.Glob("kubernaut/files/alerts/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no alerts: %v", err)
	}
	all := map[string][]alert{}
	for _, file := range files {
		var content struct {
			Groups []struct {
				Rules []alert `json:"rules"`
			} `json:"groups"`
		}
		raw, err := os.ReadFile(file)
		if err == nil {
			err = yaml.Unmarshal(raw, &content)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, g := range content.Groups {
			all[file] = append(all[file], g.Rules...)
		}
	}
	return all
}

// Every alert says how bad it is and has a page that says what to do.
func TestEveryAlertHasARunbook(t *testing.T) {
	pages := map[string]bool{}
	for file, rules := range alerts(t) {
		for _, a := range rules {
			page := "docs/runbooks/" + a.Alert + ".md"
			pages[page] = true
			if a.Annotations["runbook"] != page {
				t.Errorf("%s: %s names the runbook %q, want %s", file, a.Alert, a.Annotations["runbook"], page)
			}
			raw, err := os.ReadFile("../" + page)
			if err != nil || !strings.HasPrefix(string(raw), "# "+a.Alert+"\n") {
				t.Errorf("%s: %s has no page: %v", file, a.Alert, err)
			}
			if s := a.Labels["severity"]; s != "critical" && s != "warning" && s != "info" {
				t.Errorf("%s: %s has severity %q, want critical, warning or info", file, a.Alert, s)
			}
		}
	}
	have, err := filepath.Glob("../docs/runbooks/Kubernaut*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range have {
		if !pages[strings.TrimPrefix(page, "../")] {
			t.Errorf("%s is of no alert", page)
		}
	}
}

// Every alert fires when it should, and keeps quiet when it should not.
func TestAlertsFire(t *testing.T) {
	if testing.Short() {
		t.Skip("needs promtool: run make test")
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is missing: install the Debian package prometheus with `make deps`")
	}
	for file, rules := range alerts(t) {
		tests := filepath.Join("testdata", "alerts", filepath.Base(file))
		for _, args := range [][]string{{"check", "rules", file}, {"test", "rules", tests}} {
			if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
				t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
		raw, err := os.ReadFile(tests)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range rules {
			if !strings.Contains(string(raw), "alertname: "+a.Alert+"\n") {
				t.Errorf("%s: no test fires %s", tests, a.Alert)
			}
		}
	}
}

func TestDashboardsAreJSON(t *testing.T) {
	files, err := filepath.Glob("kubernaut/files/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	for _, file := range files {
		var board struct {
			Title, UID string
			Panels     []struct {
				ID    int
				Title string
			}
		}
		raw, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(raw, &board)
		}
		if err != nil || board.Title == "" || board.UID == "" || len(board.Panels) == 0 {
			t.Errorf("%s: title %q, uid %q, %d panels: %v", file, board.Title, board.UID, len(board.Panels), err)
		}
		seen := map[int]bool{}
		for _, p := range board.Panels {
			if seen[p.ID] {
				t.Errorf("%s: two panels have id %d", file, p.ID)
			}
			seen[p.ID] = true
		}
	}
}
