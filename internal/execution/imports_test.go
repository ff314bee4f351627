package execution

import (
	"os/exec"
	"strings"
	"testing"
)

func TestDecideCannotAct(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for p := range strings.FieldsSeq(string(out)) {
		if p == "context" || p == "os" || strings.HasPrefix(p, "net") || strings.Contains(p, "controller-runtime") || strings.Contains(p, "client-go") {
			t.Errorf("package execution imports %s, so it is not pure", p)
		}
	}
}
