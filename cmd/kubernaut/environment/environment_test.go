package environment

import (
	"errors"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/cluster"
	"kubernaut.ai/kubernaut/internal/environment"
	"kubernaut.ai/kubernaut/internal/environment/run"
)

// A cluster in containers has no logs on this machine: what is known of it is told.
func TestAClusterThatIsNotReadyIsExplained(t *testing.T) {
	stopped := environment.View{Name: "other", Cluster: cluster.Status{State: cluster.Starting, Problem: "its node does not run"}}
	if err := verdict(stopped); err == nil || !strings.HasSuffix(err.Error(), "is not ready: its node does not run") {
		t.Errorf("got %v", err)
	}
	stopped.Cluster.Logs = "/logs"
	if err := verdict(stopped); err == nil || !strings.HasSuffix(err.Error(), "its logs are in /logs") {
		t.Errorf("got %v", err)
	}
}

func TestAFailedUpSaysHowToGoOn(t *testing.T) {
	failed := &run.Failure{Causes: []run.Cause{{Step: "tekton", Err: errors.New("no image")}}}
	err := goOn(failed, ownName("other"))
	if !errors.Is(err, error(failed)) {
		t.Errorf("the failure itself is lost: %v", err)
	}
	for _, want := range []string{
		"no image", "What became ready stays.", "go on: kubernaut env up --name other", "remove it all: kubernaut env down --name other",
		"look at it: kubernaut env diagnose --name other, kubernaut env report --name other; kubectl is used with: kubernaut env kubeconfig --name other > FILE",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if err := goOn(failed, ownName(environment.DefaultName)); strings.Contains(err.Error(), "--name") {
		t.Errorf("the default environment is named: %v", err)
	}
	refused := errors.New("the plan is refused")
	if err := goOn(refused, ""); err.Error() != refused.Error() {
		t.Errorf("what has changed nothing is told to be cleaned up: %v", err)
	}
}
