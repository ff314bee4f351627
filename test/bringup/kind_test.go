package bringup

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// engineOrSkip is the container engine that answers here.
func engineOrSkip(t *testing.T) string {
	t.Helper()
	for _, engine := range []string{"docker", "podman"} {
		if exec.Command(engine, "info").Run() == nil {
			return engine
		}
	}
	t.Skip("neither docker nor podman answers here")
	return ""
}

// onKind is where the tests' environments run in containers: KUBERNAUT_KIND_NODE_IMAGE
// names the node's image where that of kind's release cannot be pulled.
func onKind() []string {
	args := []string{"up", "--progress", "plain", "--cluster", "kind"}
	if image := os.Getenv("KUBERNAUT_KIND_NODE_IMAGE"); image != "" {
		args = append(args, "--node-image", image)
	}
	return args
}

// executions is how many there are in the environment.
func (e *environment) executions() int {
	e.Helper()
	cfg, err := clientcmd.RESTConfigFromKubeConfig(e.run("kubeconfig"))
	if err != nil {
		e.Fatal(err)
	}
	all, err := dynamic.NewForConfigOrDie(cfg).Resource(v1alpha1.GroupVersion.WithResource("workflowexecutions")).List(e.Context(), metav1.ListOptions{})
	if err != nil {
		e.Fatal(err)
	}
	return len(all.Items)
}

// TestKindCluster brings an environment up in a container engine and runs a workflow
// there. After its node was stopped and started again, as by a restart of the
// engine, it goes on with what it had; down leaves nothing.
func TestKindCluster(t *testing.T) {
	if os.Getenv("KUBERNAUT_TEST") != "full" {
		t.Skip("takes minutes: run make test-full")
	}
	engine := engineOrSkip(t)
	e := needed(t, "kind")
	e.run(onKind()...)
	e.works()
	before := e.executions()

	const node = "kubernaut-kind-control-plane"
	for _, act := range []string{"stop", "start"} {
		if out, err := exec.Command(engine, act, node).CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", engine, act, err, out)
		}
	}
	e.run("up", "--progress", "plain")
	if after := e.executions(); before == 0 || after != before {
		t.Errorf("of %d executions %d are there after the node's restart", before, after)
	}
	e.run("up", "--progress", "plain")
	if r := e.report(); !r.Ready || r.WallSeconds > 60 {
		t.Errorf("a second up is not a quick look: %+v", r)
	}
	e.worksOn("another")

	e.down()
	left, err := exec.Command(engine, "ps", "-aq", "--filter", "label=io.x-k8s.kind.cluster=kubernaut-kind").Output()
	if err != nil || len(strings.TrimSpace(string(left))) > 0 {
		t.Errorf("of the environment are left the containers %s (%v)", left, err)
	}
}
