package bringup

import (
	"os"
	"os/exec"
	"testing"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	installed "kubernaut.ai/kubernaut/internal/environment"
)

// TestSpecsOnAnExistingCluster runs the specs of test/e2e in a cluster that is not
// the environment's. Two are about the machine of a local one.
func TestSpecsOnAnExistingCluster(t *testing.T) {
	if os.Getenv("KUBERNAUT_TEST") != "full" {
		t.Skip("takes minutes: run make test-full")
	}
	h := newHost(t, "--audit-log")
	log, err := installed.AuditLog(h.name)
	if err != nil {
		t.Fatal(err)
	}
	specs := exec.CommandContext(t.Context(), "go", "test", "-v", "-count=1", "-timeout", "40m",
		"-skip", "^(TestAPortThatIsTakenIsNamed|TestAFullDiskAndAServerThatIsGoneAreNamed)$", "kubernaut.ai/kubernaut/test/e2e")
	specs.Env = append(os.Environ(), "KUBERNAUT_TEST=", "KUBERNAUT_E2E_CLUSTER="+installed.Existing, "KUBERNAUT_E2E_KUBECONFIG="+h.kubeconfig,
		"KUBERNAUT_E2E_REGISTRY="+v1alpha1.RegistryHost, "KUBERNAUT_E2E_REGISTRY_CA="+h.ca, "KUBERNAUT_E2E_AUDIT_LOG="+log)
	out, err := specs.CombinedOutput()
	if err != nil {
		t.Fatalf("the specs on an existing cluster: %v\n%s", err, out)
	}
}
