package workflows_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/build"
	"kubernaut.ai/kubernaut/internal/workflow"
	"kubernaut.ai/kubernaut/test/servers"
	"kubernaut.ai/kubernaut/workflows"
)

func shipped(t *testing.T, name string) *workflow.Workflow {
	t.Helper()
	folder, err := fs.Sub(workflows.Shipped, name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := workflow.Read(folder)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return w
}

// workflowFolders are the names of the shipped workflows.
func workflowFolders() (names []string, err error) {
	folders, err := workflows.Shipped.ReadDir(".")
	for _, f := range folders {
		names = append(names, f.Name())
	}
	return names, err
}

func TestEveryShippedWorkflowIsWellFormed(t *testing.T) {
	folders, err := workflowFolders()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range folders {
		if w := shipped(t, name); w.Definition.Name != name {
			t.Errorf("the workflow in %s calls itself %s", name, w.Definition.Name)
		}
		if _, err := os.Stat(filepath.Join(name, "README.md")); err != nil {
			t.Errorf("%s has no README.md: nobody knows when to run it", name)
		}
	}
	if len(folders) == 0 {
		t.Error("no workflow is shipped")
	}
}

// step runs the script of a workflow's only step as Tekton would: with the shell and
// the kubectl that are in its image.
type step struct {
	t          *testing.T
	script     string
	path       string
	kubeconfig string
}

func newStep(t *testing.T, workflow string, cfg *rest.Config) *step {
	t.Helper()
	cache, err := build.Open()
	if err != nil {
		t.Fatal(err)
	}
	assets, err := build.Assets(cache)
	if err != nil {
		t.Fatal(err)
	}
	script := shipped(t, workflow).Pipeline.Spec.Tasks[0].TaskSpec.Steps[0].Script
	return &step{t: t, script: script, path: assets + ":" + os.Getenv("PATH"), kubeconfig: servers.Kubeconfig(t, cfg)}
}

// run runs the script with these variables beside those that every step has.
func (s *step) run(env ...string) (output string, code int) {
	s.t.Helper()
	cmd := exec.Command("busybox", "sh", "-c", s.script)
	cmd.Dir = s.t.TempDir()
	cmd.Env = append([]string{"PATH=" + s.path, "KUBECONFIG=" + s.kubeconfig, "HOME=" + cmd.Dir, "TIMEOUT=2s"}, env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if left, err := os.ReadDir(cmd.Dir); err != nil || containsFile(left, "pwned") {
		s.t.Error("a parameter became a command")
	}
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), failed.ExitCode()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return out.String(), 0
}

func containsFile(entries []os.DirEntry, name string) bool {
	for _, e := range entries {
		if e.Name() == name {
			return true
		}
	}
	return false
}

// deploy makes a Deployment with the given limits, one container for each, which
// is rolled out at once whatever is changed about it: no controller runs here.
func deploy(t *testing.T, c kubernetes.Interface, name string, limits ...string) {
	t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}}},
	}}
	for i, limit := range limits {
		container := corev1.Container{Name: string(rune('a' + i)), Image: "example.com/image"}
		if limit != "" {
			container.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(limit)}
		}
		d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, container)
	}
	made, err := c.AppsV1().Deployments("default").Create(t.Context(), d, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made.Status = appsv1.DeploymentStatus{ObservedGeneration: 100, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}
	if _, err := c.AppsV1().Deployments("default").UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func limitOf(t *testing.T, c kubernetes.Interface, name string, container int) string {
	t.Helper()
	d, err := c.AppsV1().Deployments("default").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	limit, ok := d.Spec.Template.Spec.Containers[container].Resources.Limits[corev1.ResourceMemory]
	if !ok {
		return ""
	}
	return limit.String()
}

// TestSteps runs the steps of all workflows on one API server.
func TestSteps(t *testing.T) {
	cfg := servers.APIServer(t)
	c := kubernetes.NewForConfigOrDie(cfg)
	t.Run("IncreaseMemory", func(t *testing.T) { increaseMemory(t, cfg, c) })
	t.Run("Rollouts", func(t *testing.T) { rollouts(t, cfg, c) })
}

func increaseMemory(t *testing.T, cfg *rest.Config, c kubernetes.Interface) {
	s := newStep(t, "increase-memory", runner(t, cfg, "increase-memory"))
	t.Run("Limits", func(t *testing.T) { limits(t, c, s) })
	t.Run("Refusals", func(t *testing.T) { refusals(t, s) })
	t.Run("RolloutThatDoesNotEnd", func(t *testing.T) { stuck(t, c, s) })
}

func limits(t *testing.T, c kubernetes.Interface, s *step) {
	for _, tc := range []struct {
		why              string
		limits           []string
		limit, container string
		code             int
		says             string
		want             string // limit of the first container afterwards
	}{
		{why: "raises", limits: []string{"64Mi"}, limit: "256Mi", says: "raising the memory limit of container a of default/deployment.apps/raises from 64Mi to 256Mi", want: "256Mi"},
		{why: "twice", limits: []string{"256Mi"}, limit: "256Mi", says: "a memory limit of 256Mi already: nothing to raise", want: "256Mi"},
		{why: "never-lowers", limits: []string{"1Gi"}, limit: "256Mi", says: "a memory limit of 1Gi already: nothing to raise", want: "1Gi"},
		{why: "other-units", limits: []string{"200M"}, limit: "256Mi", says: "from 200M to 256Mi", want: "256Mi"},
		{why: "no-limit", limits: []string{""}, limit: "256Mi", says: "has no memory limit: nothing to raise", want: ""},
		{why: "one-of-two", limits: []string{"64Mi", "64Mi"}, limit: "256Mi", container: "a", says: "container a of", want: "256Mi"},
		{why: "which-one", limits: []string{"64Mi", "64Mi"}, limit: "256Mi", code: 1, says: "has several containers: say which with CONTAINER: a b", want: "64Mi"},
		{why: "no-such-container", limits: []string{"64Mi"}, limit: "256Mi", container: "z", code: 1, says: "has no container z; it has: a", want: "64Mi"},
		{why: "no-command", limits: []string{"64Mi"}, limit: "256Mi", container: "a; touch pwned", code: 1, says: "has no container a; touch pwned", want: "64Mi"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			deploy(t, c, tc.why, tc.limits...)
			out, code := s.run("TARGET=default/deployment.apps/"+tc.why, "LIMIT="+tc.limit, "CONTAINER="+tc.container)
			if code != tc.code || !strings.Contains(out, tc.says) {
				t.Errorf("exit code %d, want %d, and %q in:\n%s", code, tc.code, tc.says, out)
			}
			if got := limitOf(t, c, tc.why, 0); got != tc.want {
				t.Errorf("the limit is %q now, want %q", got, tc.want)
			}
		})
	}
}

func refusals(t *testing.T, s *step) {
	for target, says := range map[string]string{
		"default/configmap/x":       "default/configmap/x is neither a Deployment nor a StatefulSet",
		"default/deployment.apps/x": `deployments.apps "x" not found`,
	} {
		if out, code := s.run("TARGET="+target, "LIMIT=256Mi", "CONTAINER="); code == 0 || !strings.Contains(out, says) {
			t.Errorf("target %s: exit code %d, want a failure with %q:\n%s", target, code, says, out)
		}
	}
}

func stuck(t *testing.T, c kubernetes.Interface, s *step) {
	deploy(t, c, "stuck", "64Mi")
	d, err := c.AppsV1().Deployments("default").Get(t.Context(), "stuck", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d.Status.AvailableReplicas, d.Status.ReadyReplicas = 0, 0
	if _, err := c.AppsV1().Deployments("default").UpdateStatus(t.Context(), d, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	out, code := s.run("TARGET=default/deployment/stuck", "LIMIT=256Mi", "CONTAINER=")
	if code == 0 || !strings.Contains(out, "the rollout is not done after 2s") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}
