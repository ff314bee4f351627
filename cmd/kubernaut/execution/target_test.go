package execution

import (
	"os"
	"strings"
	"testing"
)

func TestTheFormOfATargetIsThatOfTheCRD(t *testing.T) {
	crd, err := os.ReadFile("../../../charts/kubernaut/crds/kubernaut.ai_workflowexecutions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// YAML may break the rule over lines, and writes a quote in quotes twice.
	text := strings.NewReplacer("''", "'").Replace(strings.Join(strings.Fields(string(crd)), " "))
	if !strings.Contains(text, "self.matches('"+targetForm.String()+"')") {
		t.Errorf("the CRD does not have the rule %s", targetForm)
	}
}
