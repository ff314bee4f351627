package bringup

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/environment/progress"
	"kubernaut.ai/kubernaut/internal/environment/report"
)

// program is the kubernaut of this checkout, built once.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), "kubernaut-bringup", "kubernaut")
	out, err := exec.Command("go", "build", "-o", path, "kubernaut.ai/kubernaut/cmd/kubernaut").CombinedOutput()
	if err != nil {
		_, _ = os.Stderr.Write(out)
	}
	return path, err
})

// environment is one that a test brings up, with a name of its own.
type environment struct {
	testing.TB
	name string
}

// needed skips what takes minutes, and else returns an environment that goes
// with the test.
func needed(t testing.TB, name string) *environment {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a real cluster, several times: run make test-full")
	}
	e := &environment{t, name}
	e.down()
	t.Cleanup(e.down)
	return e
}

// forgotten removes also the store of images that outlives an environment.
func (e *environment) forgotten() *environment {
	e.Helper()
	dir, err := build.Dir()
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() {
		e.down()
		if err := os.RemoveAll(filepath.Join(dir, "content", e.name)); err != nil {
			e.Error(err)
		}
	})
	return e
}

func (e *environment) command(ctx context.Context, args ...string) *exec.Cmd {
	e.Helper()
	path, err := program()
	if err != nil {
		e.Fatalf("building kubernaut: %v", err)
	}
	return exec.CommandContext(ctx, path, append([]string{"env", "--name", e.name}, args...)...)
}

// run returns what the command printed and fails the test when it failed.
func (e *environment) run(args ...string) []byte {
	e.Helper()
	var stderr bytes.Buffer
	cmd := e.command(context.Background(), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		e.Fatalf("kubernaut env %v: %v\n%s", args, err, tail(stderr.Bytes()))
	}
	return out
}

func (e *environment) down() {
	e.Helper()
	if out, err := e.command(context.Background(), "down").CombinedOutput(); err != nil {
		e.Errorf("kubernaut env down: %v\n%s", err, out)
	}
}

func tail(out []byte) []byte { return out[max(0, len(out)-4000):] }

// killedAt brings the environment up and kills the program, without any grace,
// at the first event that at accepts. It tells whether that came.
func (e *environment) killedAt(at func(progress.Event) bool) bool {
	e.Helper()
	cmd := e.command(context.Background(), "up", "--progress", "json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		e.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		e.Fatal(err)
	}
	killed := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var event progress.Event
		if json.Unmarshal(lines.Bytes(), &event) == nil && !killed && at(event) {
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				e.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed, or had come to its end before
	return killed
}

// killNode ends the first process of the node, and thereby all others in it.
func (e *environment) killNode() {
	e.Helper()
	dir, err := build.Dir()
	if err != nil {
		e.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "env", e.name, "node", "record.json"))
	if err != nil {
		e.Fatal(err)
	}
	var record struct{ Init struct{ PID int } }
	if err := json.Unmarshal(raw, &record); err != nil || record.Init.PID < 2 {
		e.Fatalf("the node's record %s: %v", raw, err)
	}
	if err := unix.Kill(record.Init.PID, unix.SIGKILL); err != nil {
		e.Fatal(err)
	}
}

// cluster is the environment's, as kubectl reaches it.
func (e *environment) cluster() (core kubernetes.Interface, kubeconfig string) {
	e.Helper()
	raw := e.run("kubeconfig")
	cfg, err := clientcmd.RESTConfigFromKubeConfig(raw)
	if err != nil {
		e.Fatal(err)
	}
	kubeconfig = filepath.Join(e.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, raw, 0o600); err != nil {
		e.Fatal(err)
	}
	return kubernetes.NewForConfigOrDie(cfg), kubeconfig
}

// containers are those of the environment's own pods, by what and which they are,
// and whether their pods are ready.
func (e *environment) containers() map[string]bool {
	e.Helper()
	core, _ := e.cluster()
	all, ready := map[string]bool{}, 0
	for _, namespace := range []string{"kube-system", "tekton-pipelines", "tekton-pipelines-resolvers", v1alpha1.SystemNamespace} {
		pods, err := core.CoreV1().Pods(namespace).List(e.Context(), metav1.ListOptions{})
		if err != nil {
			e.Fatal(err)
		}
		for _, p := range pods.Items {
			isReady := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			})
			for _, c := range p.Status.ContainerStatuses {
				all[fmt.Sprintf("%s/%s %s %s", namespace, p.Name, c.Name, c.ContainerID)] = isReady
			}
			if isReady {
				ready++
			}
		}
	}
	if ready < 9 {
		e.Fatalf("only %d pods are ready: %v", ready, all)
	}
	return all
}

// works runs a workflow in the environment.
func (e *environment) works() {
	e.Helper()
	e.worksOn("none")
}

// worksOn is works on a target that was not remedied a moment ago.
func (e *environment) worksOn(target string) {
	e.Helper()
	_, kubeconfig := e.cluster()
	kubernaut(e, "workflow", "push", "../e2e/workflows/nothing", "--kubeconfig", kubeconfig)
	kubernaut(e, "run", "nothing", "--target", "default/deployment/"+target, "--allow-missing-target", "--wait", "--kubeconfig", kubeconfig)
}

// kubernaut runs the program, which must succeed.
func kubernaut(t testing.TB, args ...string) []byte {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubernaut %v: %v\n%s", args, err, tail(out))
	}
	return out
}

func (e *environment) report() report.Report {
	e.Helper()
	var r report.Report
	if err := json.Unmarshal(e.run("report", "-o", "json"), &r); err != nil {
		e.Fatal(err)
	}
	return r
}
