package datastorage

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestAlertsAreOnMetricsThatExist compares the alert rules with what is measured.
func TestAlertsAreOnMetricsThatExist(t *testing.T) {
	rules, err := os.ReadFile("../../charts/kubernaut/files/alerts/datastorage.yaml")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\bdatastorage_[a-z_]+`).FindAllString(string(rules), -1)
	if len(names) < 15 {
		t.Fatalf("only %d names of metrics are in the rules", len(names))
	}
	for _, name := range names {
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			name = strings.TrimSuffix(name, suffix)
		}
		if !strings.Contains(string(source), `"`+name+`"`) {
			t.Errorf("a rule is on %s, which nobody measures", name)
		}
	}
}
