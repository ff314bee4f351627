package workflows_test

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	revisionOf   = "deployment.kubernetes.io/revision"
	restartedBy  = "kubernaut.ai/restarted-by"
	rolledBackBy = "kubernaut.ai/rolled-back-by"
)

// rollouts runs the workflows that replace pods.
func rollouts(t *testing.T, cfg *rest.Config, c kubernetes.Interface) {
	restart := newStep(t, "restart-deployment", runner(t, cfg, "restart-deployment"))
	undo := newStep(t, "rollback-deployment", runner(t, cfg, "rollback-deployment"))
	t.Run("Restart", func(t *testing.T) { restarts(t, c, restart) })
	t.Run("Rollback", func(t *testing.T) { rollbacks(t, c, undo) })
	t.Run("RollbackOfWhatChanges", func(t *testing.T) { raced(t, c, undo) })
	for name, s := range map[string]*step{"restart": restart, "undo": undo} {
		t.Run("Refusals/"+name, func(t *testing.T) { rolloutRefusals(t, c, s) })
	}
}

func read(t *testing.T, c kubernetes.Interface, name string) *appsv1.Deployment {
	t.Helper()
	d, err := c.AppsV1().Deployments("default").Get(t.Context(), name, metav1.GetOptions{})
	must(t, err)
	return d
}

func write(t *testing.T, c kubernetes.Interface, d *appsv1.Deployment) *appsv1.Deployment {
	t.Helper()
	d, err := c.AppsV1().Deployments("default").Update(t.Context(), d, metav1.UpdateOptions{})
	must(t, err)
	return d
}

func restarts(t *testing.T, c kubernetes.Interface, s *step) {
	deploy(t, c, "hangs", "64Mi")
	for _, run := range []struct {
		uid, says string
		replaced  bool
	}{
		{"run-1", "restarting default/deployment.apps/hangs", true},
		{"run-1", "was restarted by this run already", false},
		{"run-2", "restarting default/deployment.apps/hangs", true},
	} {
		before := read(t, c, "hangs")
		out, code := s.run("TARGET=default/deployment.apps/hangs", "RUN="+run.uid)
		if code != 0 || !strings.Contains(out, run.says) || !strings.Contains(out, "are new and available") {
			t.Errorf("%s: exit code %d, want %q in:\n%s", run.uid, code, run.says, out)
		}
		after := read(t, c, "hangs")
		if got := after.Spec.Template.Annotations[restartedBy]; got != run.uid {
			t.Errorf("the pods are marked with %q, want %q", got, run.uid)
		}
		if replaced := after.Generation != before.Generation; replaced != run.replaced {
			t.Errorf("%s: pods are replaced: %v, want %v", run.uid, replaced, run.replaced)
		}
	}
}

// revisions gives a Deployment a history as its controller would: one ReplicaSet for
// each image, the last of which is current.
func revisions(t *testing.T, c kubernetes.Interface, name string, images ...string) {
	t.Helper()
	deploy(t, c, name, "64Mi")
	for i, image := range images {
		d := read(t, c, name)
		d.Spec.Template.Spec.Containers[0].Image = image
		if d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		d.Annotations[revisionOf] = fmt.Sprint(i + 1)
		d = write(t, c, d)
		template := *d.Spec.Template.DeepCopy()
		template.Labels["pod-template-hash"] = fmt.Sprint("hash", i)
		selector := map[string]string{"app": name, "pod-template-hash": template.Labels["pod-template-hash"]}
		_, err := c.AppsV1().ReplicaSets("default").Create(t.Context(), &appsv1.ReplicaSet{
			ObjectMeta: metav1.ObjectMeta{
				Name: fmt.Sprintf("%s-%d", name, i), Labels: selector, Annotations: map[string]string{revisionOf: fmt.Sprint(i + 1)},
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))},
			},
			Spec: appsv1.ReplicaSetSpec{Selector: &metav1.LabelSelector{MatchLabels: selector}, Template: template},
		}, metav1.CreateOptions{})
		must(t, err)
	}
}

func rollbacks(t *testing.T, c kubernetes.Interface, s *step) {
	revisions(t, c, "bad", "image:1", "image:2", "image:3")
	revisions(t, c, "other", "image:7", "image:8") // whose ReplicaSets are not taken for bad's
	for _, run := range []struct {
		uid, revision, says string
		code                int
		image, mark         string
	}{
		{"run-1", "9", "has no revision 9 any more; it has: 1 2 3", 1, "image:3", ""},
		{"run-2", "3", "is at revision 3 already: nothing to roll back", 0, "image:3", ""},
		{"run-3", "", "from revision 3 to 2", 0, "image:2", "run-3"},
		{"run-3", "", "was rolled back by this run already", 0, "image:2", "run-3"}, // and not back to what is broken
		{"run-4", "1", "to 1", 0, "image:1", "run-4"},
	} {
		out, code := s.run("TARGET=default/deployment.apps/bad", "RUN="+run.uid, "REVISION="+run.revision)
		if code != run.code || !strings.Contains(out, run.says) {
			t.Errorf("%s: exit code %d, want %d, and %q in:\n%s", run.uid, code, run.code, run.says, out)
		}
		d := read(t, c, "bad")
		if got := d.Spec.Template.Spec.Containers[0].Image; got != run.image {
			t.Errorf("%s: the image is %s now, want %s", run.uid, got, run.image)
		}
		if _, ok := d.Spec.Template.Labels["pod-template-hash"]; ok || d.Annotations[rolledBackBy] != run.mark {
			t.Errorf("%s: labels %v, annotations %v, want the mark %q", run.uid, d.Spec.Template.Labels, d.Annotations, run.mark)
		}
	}
	revisions(t, c, "new", "image:1")
	if out, code := s.run("TARGET=default/deployment/new", "RUN=run-5", "REVISION="); code == 0 || !strings.Contains(out, "has no revision before 1; it has: 1") {
		t.Errorf("a Deployment that never changed: exit code %d:\n%s", code, out)
	}
}

// raced changes the Deployment between the decision of the step and its write: its
// shell finds a kubectl that does that first.
func raced(t *testing.T, c kubernetes.Interface, s *step) {
	revisions(t, c, "raced", "image:1", "image:2")
	racing := *s
	racing.t = t
	racing.script = strings.Replace(s.script, "set -eu\n", `set -eu
kubectl() {
    case " $* " in *" patch "*) command kubectl -n default annotate --overwrite deployment/raced somebody=else >/dev/null ;; esac
    command kubectl "$@"
}
`, 1)
	out, code := racing.run("TARGET=default/deployment/raced", "RUN=run-1", "REVISION=")
	if code == 0 || !strings.Contains(out, "somebody else has just changed") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if image := read(t, c, "raced").Spec.Template.Spec.Containers[0].Image; image != "image:2" {
		t.Errorf("the image is %s now", image)
	}
}

func rolloutRefusals(t *testing.T, c kubernetes.Interface, s *step) {
	name := "paused-" + strings.ToLower(strings.NewReplacer("/", "-").Replace(t.Name()))
	deploy(t, c, name, "64Mi")
	d := read(t, c, name)
	d.Spec.Paused = true
	d.Annotations = map[string]string{revisionOf: "1"}
	write(t, c, d)
	for target, says := range map[string]string{
		"default/statefulset/x":             "default/statefulset/x is no Deployment",
		"default/deployment.apps/x":         `deployments.apps "x" not found`,
		"default/deployment/" + name:        "is paused",
		"default/deployment/x; touch pwned": "not found",
	} {
		if out, code := s.run("TARGET="+target, "RUN=run-1", "REVISION="); code == 0 || !strings.Contains(out, says) {
			t.Errorf("target %s: exit code %d, want a failure with %q:\n%s", target, code, says, out)
		}
	}
}
