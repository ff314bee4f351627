package e2e

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/follow"
)

// onlyFull skips what is one more of a family that is provoked already.
func onlyFull(t *testing.T) {
	t.Helper()
	if os.Getenv("KUBERNAUT_TEST") != "full" {
		t.Skip("another of a family that is tried: run make test-full")
	}
}

func timeout(d time.Duration) func(*v1alpha1.WorkflowExecution) {
	return func(e *v1alpha1.WorkflowExecution) {
		e.Spec.ExecutionConfig = &v1alpha1.ExecutionConfig{Timeout: &metav1.Duration{Duration: d}}
	}
}

func how(value string) func(*v1alpha1.WorkflowExecution) {
	return func(e *v1alpha1.WorkflowExecution) { e.Spec.Parameters = map[string]string{"HOW": value} }
}

// told is what a failure has to say.
type told struct {
	reason  v1alpha1.FailureReason
	task    string
	step    string
	code    int32 // 0: none is told
	started bool  // user code had, or that cannot be excluded
	says    string
	printed string // a line of the failed step that is kept, though the pod may be gone
}

// fails waits for the end of an execution and compares what it tells.
func (w *world) fails(e *v1alpha1.WorkflowExecution, want told) *v1alpha1.WorkflowExecution {
	w.Helper()
	e = w.untilRecorded(e)
	f := e.Status.FailureDetails
	if f == nil {
		w.Fatalf("phase %s without failure details", e.Status.Phase)
	}
	if f.Reason != want.reason {
		w.Errorf("%s (%s), want %s", f.Reason, f.Message, want.reason)
	}
	if want.task != "" && f.FailedTaskName != want.task || want.step != "" && f.FailedStepName != want.step {
		w.Errorf("in task %q step %q, want %q, %q", f.FailedTaskName, f.FailedStepName, want.task, want.step)
	}
	if want.code != 0 && (f.ExitCode == nil || *f.ExitCode != want.code) {
		w.Errorf("exit code %s, want %d", follow.Where(f), want.code)
	}
	if f.WasExecutionFailure != want.started || f.RetrySafe == want.started {
		w.Errorf("user code started: %t, retry safe: %t; want %t, %t", f.WasExecutionFailure, f.RetrySafe, want.started, !want.started)
	}
	if said := f.Message + "\n" + f.NaturalLanguageSummary; !strings.Contains(said, want.says) {
		w.Errorf("it does not say %q: %s", want.says, said)
	}
	if kept := strings.Join(f.Evidence, "\n"); !strings.Contains(kept, want.printed) {
		w.Errorf("the evidence lacks %q: %q", want.printed, kept)
	}
	return e
}

// TestFailuresOfRuns provokes failures that need nothing but a workflow.
func TestFailuresOfRuns(t *testing.T) {
	for _, c := range []struct {
		name, workflow string
		edit           func(*v1alpha1.WorkflowExecution)
		want           told
		full           bool
	}{
		{"memory", "hungry", how("memory"), told{v1alpha1.FailureOOMKilled, "eat", "eat", 137, true, "", ""}, false},
		{"memory, though nobody says OOMKilled", "hungry", how("signal"), told{v1alpha1.FailureOOMKilled, "eat", "eat", 137, true, "", ""}, true},
		{"the timeout of the run", "lasts", timeout(20 * time.Second), told{v1alpha1.FailureDeadlineExceeded, "", "", 0, true, "20s", "started"}, true},
		{"the timeout of a task", "slow-task", nil, told{v1alpha1.FailureDeadlineExceeded, "slow", "", 0, true, "8s", ""}, true},
		{"an image that is nowhere", "no-image", nil, told{v1alpha1.FailureImagePullBackOff, "pull", "", 0, false, "kubernaut/absent", ""}, true},
		{"an image that insists on root", "as-root", timeout(15 * time.Second), told{v1alpha1.FailureConfigurationError, "", "", 0, false, "root", ""}, true},
		{"a Secret of the pipeline that is nowhere", "mounts-absent", timeout(10 * time.Second), told{v1alpha1.FailureConfigurationError, "", "", 0, false, "no-such-secret", ""}, true},
		{"the timeout of a Job", "job-obeys", timeout(6 * time.Second), told{v1alpha1.FailureDeadlineExceeded, "", "", 0, true, "", "looking at"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.full {
				onlyFull(t)
			}
			w := spec(t)
			w.deployment("app")
			edit := c.edit
			if edit == nil {
				edit = func(*v1alpha1.WorkflowExecution) {}
			}
			w.fails(w.execute(c.workflow, w.target("app"), edit), c.want)
		})
	}
}

// changed is a workflow as another one, but for what it runs: Data Storage looks at
// what is registered, and this is what is left when it has changed since.
func (w *world) changed(like, image string) string {
	w.Helper()
	name := "spec-" + rand.String(6)
	tag, err := w.database().Exec(w.ctx, `
		INSERT INTO workflows (
			workflow_id, workflow_name, version, version_key, prerelease, digest, name, description, content, content_hash,
			signal_type, severity, component, environment, priority, custom_labels,
			parameters, execution_engine, container_image, secrets, config_maps, status)
		SELECT gen_random_uuid(), $1::text, version, version_key, prerelease, sha256(convert_to($1::text, 'UTF8')), name, description, content, content_hash,
			signal_type, severity, component, environment, priority, custom_labels,
			parameters, execution_engine, $2::text, secrets, config_maps, status
		FROM workflows WHERE workflow_name = $3 AND version = '1.0.0'`, name, image, like)
	if err != nil || tag.RowsAffected() != 1 {
		w.Fatalf("copying workflow %s: %d rows, %v", like, tag.RowsAffected(), err)
	}
	return name
}

const bundles = v1alpha1.RegistryHost + "/workflows/"

func TestAnImageOfAJobThatIsNowhere(t *testing.T) {
	w := spec(t)
	w.deployment("app")
	w.fails(w.execute(w.changed("job-obeys", bundles+"no-such-image:1.0.0"), w.target("app")),
		told{reason: v1alpha1.FailureImagePullBackOff, says: "no-such-image"})
}

func TestABundleThatCannotBeResolved(t *testing.T) {
	bundle := func(started bool, says string) told {
		return told{reason: v1alpha1.FailureBundleResolutionFailed, started: started, says: says}
	}
	t.Run("absent", func(t *testing.T) {
		w := spec(t)
		w.deployment("app")
		w.fails(w.execute(w.changed("nothing", bundles+"no-such-bundle:1.0.0"), w.target("app")), bundle(false, "the registry has no such bundle"))
	})
	t.Run("unreachable", func(t *testing.T) {
		onlyFull(t)
		w := spec(t)
		w.deployment("app")
		w.fails(w.execute(w.changed("nothing", "registry-away.kubernaut-system.svc:5000/workflows/x:1.0.0"), w.target("app")), bundle(false, "the registry's name cannot be looked up"))
	})
	t.Run("unauthorised", func(t *testing.T) {
		onlyFull(t)
		w := spec(t)
		w.deployment("app")
		w.withPullSecret(`{"auths":{"` + v1alpha1.RegistryHost + `":{"username":"nobody","password":"wrong","auth":"bm9ib2R5Ondyb25n"}}}`)
		w.fails(w.execute(w.changed("nothing", bundles+"nothing:1.0.0"), w.target("app")), bundle(false, "refuses the credentials"))
	})
	t.Run("a parameter that the catalog does not know of", func(t *testing.T) {
		onlyFull(t)
		w := spec(t)
		w.deployment("app")
		w.fails(w.execute(w.changed("nothing", bundles+"fails:1.0.0"), w.target("app")),
			told{reason: v1alpha1.FailureConfigurationError, says: "PASSWORD"})
	})
}

// withPullSecret gives the runs another login for the length of a spec.
func (w *world) withPullSecret(login string) {
	w.Helper()
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: v1alpha1.WorkflowNamespace, Name: v1alpha1.DefaultPullSecret}
	if err := w.Client.Get(w.ctx, key, secret); err != nil {
		w.Fatal(err)
	}
	right := secret.Data[corev1.DockerConfigJsonKey]
	set := func(ctx context.Context, value []byte) {
		raw, err := json.Marshal(map[string]any{"data": map[string][]byte{corev1.DockerConfigJsonKey: value}})
		if err != nil {
			w.Fatal(err)
		}
		if err := w.Client.Patch(ctx, secret, client.RawPatch("application/merge-patch+json", raw)); err != nil {
			w.Errorf("changing the pull secret: %v", err)
		}
	}
	set(w.ctx, []byte(login))
	w.Cleanup(func() { set(context.Background(), right) })
}

// quota lets no pod be made in the namespace of the runs until it is lifted.
func (w *world) quota() (lift func()) {
	w.Helper()
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.WorkflowNamespace, Name: w.namespace}}
	q.Spec.Hard = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}
	w.create(q)
	until(w, q, &corev1.ResourceQuotaList{}, func(q *corev1.ResourceQuota) bool { return len(q.Status.Hard) > 0 })
	lifted := false
	lift = func() {
		if !lifted {
			lifted = true
			if err := w.Client.Delete(context.Background(), q); err != nil {
				w.Errorf("lifting the quota: %v", err)
			}
		}
	}
	w.Cleanup(lift)
	return lift
}

// TestAQuotaThatIsUsedUp: it is told at once; when it is lifted the run goes on,
// else it ends at its timeout.
func TestAQuotaThatIsUsedUp(t *testing.T) {
	for _, c := range []struct {
		workflow string
		full     bool
	}{{"nothing", true}, {"job-obeys", false}} {
		t.Run(c.workflow, func(t *testing.T) {
			if c.full {
				onlyFull(t)
			}
			w := spec(t)
			w.deployment("app")
			w.quota()
			e := w.execute(c.workflow, w.target("app"), timeout(8*time.Second))
			e = w.untilExecution(e, func(e *v1alpha1.WorkflowExecution) bool { return ended(e) || e.Status.Waiting != nil })
			if wait := e.Status.Waiting; wait == nil || wait.Reason != string(v1alpha1.FailureResourceExhausted) || !strings.Contains(wait.Message, "exceeded quota") || wait.Until == nil {
				t.Fatalf("phase %s, waiting %+v; want it to tell of the quota, and until when it waits", e.Status.Phase, wait)
			}
			w.fails(e, told{reason: v1alpha1.FailureResourceExhausted, says: "exceeded quota"})
		})
	}
	t.Run("lifted", func(t *testing.T) {
		onlyFull(t)
		w := spec(t)
		w.deployment("app")
		lift := w.quota()
		e := w.execute("nothing", w.target("app"))
		e = w.untilExecution(e, func(e *v1alpha1.WorkflowExecution) bool { return ended(e) || e.Status.Waiting != nil })
		lift()
		w.untilPhase(e, v1alpha1.PhaseCompleted)
	})
}

// TestTheControllerMayNotCreateRuns takes the right away.
func TestTheControllerMayNotCreateRuns(t *testing.T) {
	w := spec(t)
	w.deployment("app")
	role := &rbacv1.Role{}
	if err := w.Client.Get(w.ctx, client.ObjectKey{Namespace: v1alpha1.WorkflowNamespace, Name: "kubernaut-controller"}, role); err != nil {
		t.Fatal(err)
	}
	rules := role.DeepCopy().Rules
	restore := func() {
		role.Rules, role.ResourceVersion = rules, ""
		if err := w.Client.Update(context.Background(), role); err != nil {
			t.Errorf("giving the right back: %v", err)
		}
	}
	restored := false
	t.Cleanup(func() {
		if !restored {
			restore()
		}
	})
	role.Rules = nil
	for _, r := range rules {
		r = *r.DeepCopy()
		r.Verbs = without(r.Verbs, "create")
		role.Rules = append(role.Rules, r)
	}
	if err := w.Client.Update(w.ctx, role); err != nil {
		t.Fatal(err)
	}
	e := w.execute("nothing", w.target("app"))
	e = w.untilExecution(e, ended)
	// The name of the run cannot be taken either, so the target stays held until it can.
	e = w.untilExecution(e, func(e *v1alpha1.WorkflowExecution) bool { return e.Status.Waiting != nil })
	if !strings.Contains(e.Status.Waiting.Message, "so that nobody can start it late") {
		t.Errorf("waiting %+v, want it to say why the target is held", e.Status.Waiting)
	}
	restored = true
	restore()
	w.fails(e, told{reason: v1alpha1.FailureForbidden, says: "may not"})
}

func without(verbs []string, verb string) []string {
	var left []string
	for _, v := range verbs {
		if v != verb {
			left = append(left, v)
		}
	}
	return left
}
