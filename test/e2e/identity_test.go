package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/connect"
)

// as returns the world of another user, who may edit the spec's namespace.
func (w *world) as(user string) *world {
	w.Helper()
	cfg := rest.CopyConfig(w.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	cluster, err := connect.New(cfg, w.namespace, "the specs' environment, as "+user)
	if err != nil {
		w.Fatal(err)
	}
	other := *w
	other.Cluster = cluster
	return &other
}

// bind gives a user a ClusterRole in a namespace for as long as the spec runs.
func (w *world) bind(user, role, namespace string) {
	w.Helper()
	b := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: w.namespace + "-" + user + "-" + role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	w.create(b)
	w.Cleanup(func() { _ = w.Client.Delete(w.ctx, b) }) // it may be gone with its namespace
}

// Who creates an execution needs the right to have its target remedied, and is
// stamped as who the API server knows.
func TestWhoMayNotRemediateIsRefused(t *testing.T) {
	w := spec(t)
	w.deployment("app")
	user := w.namespace + "-ada"
	w.bind(user, "kubernaut-edit", w.namespace)
	ask := func() (*v1alpha1.WorkflowExecution, error) {
		e := &v1alpha1.WorkflowExecution{}
		e.GenerateName, e.Namespace = "asked-", w.namespace
		e.Spec.WorkflowRef = v1alpha1.WorkflowRef{WorkflowID: "increase-memory", Version: "1.0.0"}
		e.Spec.TargetResource = w.target("app")
		e.Spec.CreatedBy = "system:admin"
		limit("64Mi")(e)
		return e, w.as(user).Client.Create(w.ctx, e)
	}

	if _, err := ask(); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), user+" may not have "+w.target("app")+" remedied") {
		t.Fatalf("without the right: %v, want Forbidden and who may not do what", err)
	}
	w.bind(user, "kubernaut-remediate", w.namespace)
	e := &v1alpha1.WorkflowExecution{}
	w.eventually("the right is in force", func() (err error) { e, err = ask(); return err })

	e = w.untilRecorded(e)
	if e.Status.Phase != v1alpha1.PhaseCompleted || e.Spec.CreatedBy != user {
		t.Errorf("phase %s, created by %q; want Completed, %q", e.Status.Phase, e.Spec.CreatedBy, user)
	}
	for _, event := range w.trail(e) {
		if event.EventAction == "created" && !strings.Contains(string(event.EventData), user) {
			t.Errorf("the trail does not say who created it: %s", event.EventData)
		}
	}
}

// What a workflow does not declare, and what the catalog does not know, does not run.
func TestWhatIsNotDeclaredDoesNotRun(t *testing.T) {
	w := spec(t)
	w.deployment("app")
	for name, c := range map[string]struct {
		says string
		edit func(*v1alpha1.WorkflowExecution)
	}{
		"service account": {"default", func(e *v1alpha1.WorkflowExecution) {
			e.Spec.ExecutionConfig = &v1alpha1.ExecutionConfig{ServiceAccountName: "default"}
		}},
		"secret":     {"registry-pull", func(e *v1alpha1.WorkflowExecution) { e.Spec.SecretRefs = []string{"registry-pull"} }},
		"config map": {"kube-root-ca.crt", func(e *v1alpha1.WorkflowExecution) { e.Spec.ConfigMapRefs = []string{"kube-root-ca.crt"} }},
		"image": {"example.org/other:1", func(e *v1alpha1.WorkflowExecution) {
			e.Spec.WorkflowRef.ContainerImage = "example.org/other:1"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			sub := *w
			sub.TB = t
			e := sub.untilRecorded(sub.execute("nothing", w.target("app"), c.edit))
			f := e.Status.FailureDetails
			if f == nil || f.WasExecutionFailure || e.Status.PipelineRunRef != nil {
				t.Fatalf("phase %s, failure %+v, run %+v; want a failure before anything ran", e.Status.Phase, f, e.Status.PipelineRunRef)
			}
			if f.Reason != v1alpha1.FailureConfigurationError && f.Reason != v1alpha1.FailureForbidden || !strings.Contains(f.Message, c.says) {
				t.Errorf("%s: %s; want ConfigurationError or Forbidden that names %s", f.Reason, f.Message, c.says)
			}
		})
	}
}

// What a workflow declares is handed to its run, when whoever owns it has labelled it
// for workflows.
func TestWhatIsDeclaredIsMounted(t *testing.T) {
	w := spec(t)
	w.deployment("app")
	labelled := map[string]string{v1alpha1.LabelForWorkflows: "true"}
	login := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.WorkflowNamespace, Name: "spec-login"}, StringData: map[string]string{"word": "swordfish\n"}}
	settings := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.WorkflowNamespace, Name: "spec-settings", Labels: labelled},
		Data:       map[string]string{"mode": "careful\n"},
	}
	for _, o := range []client.Object{login, settings} {
		w.create(o)
		t.Cleanup(func() {
			if err := client.IgnoreNotFound(w.Client.Delete(context.Background(), o)); err != nil {
				t.Errorf("removing %s: %v", o.GetName(), err)
			}
		})
	}
	with := func(e *v1alpha1.WorkflowExecution) {
		e.Spec.SecretRefs, e.Spec.ConfigMapRefs = []string{login.Name}, []string{settings.Name}
	}
	e := w.fails(w.execute("mounts", w.target("app"), with), told{reason: v1alpha1.FailureForbidden, says: "spec-login may not be used by workflows: it lacks the label " + v1alpha1.LabelForWorkflows})
	if e.Status.PipelineRunRef != nil {
		t.Errorf("a run exists: %+v", e.Status.PipelineRunRef)
	}

	before := client.MergeFrom(login.DeepCopy())
	login.Labels = labelled
	if err := w.Client.Patch(w.ctx, login, before); err != nil {
		t.Fatal(err)
	}
	if e = w.untilRecorded(w.execute("mounts", w.target("app"), with)); e.Status.Phase != v1alpha1.PhaseCompleted {
		t.Errorf("with the label: phase %s, want Completed: %+v", e.Status.Phase, e.Status.FailureDetails)
	}
}

// Names that the API server stamps cannot be forged or edited, reasons are not empty.
func TestStampedFieldsCannotBeForged(t *testing.T) {
	w := spec(t)
	w.deployment("app")
	user := w.namespace + "-bob"
	w.bind(user, "kubernaut-edit", w.namespace)
	w.bind(user, "kubernaut-view", w.namespace)
	bob := w.as(user)
	e := w.execute("lasts", w.target("app"))
	change := func(edit func(*v1alpha1.WorkflowExecution)) error {
		before := e.DeepCopy()
		edit(e)
		err := bob.Client.Patch(w.ctx, e, client.MergeFrom(before))
		if err != nil {
			e = before
		}
		return err
	}
	for name, edit := range map[string]func(*v1alpha1.WorkflowExecution){
		"createdBy":                          func(e *v1alpha1.WorkflowExecution) { e.Spec.CreatedBy = "somebody" },
		"the settled mark":                   func(e *v1alpha1.WorkflowExecution) { e.Labels = map[string]string{v1alpha1.LabelSettled: "Completed"} },
		"an execution without our finalizer": func(e *v1alpha1.WorkflowExecution) { e.Finalizers = nil },
		"an empty reason": func(e *v1alpha1.WorkflowExecution) {
			e.Spec.Cancel = &v1alpha1.CancelRequest{Mode: v1alpha1.CancelImmediate, Reason: " "}
		},
	} {
		if err := change(edit); err == nil {
			t.Errorf("%s was let through", name)
		}
	}
	forged := &v1alpha1.CancelRequest{Mode: v1alpha1.CancelImmediate, Reason: "seen enough", RequestedBy: "system:admin"}
	if err := change(func(e *v1alpha1.WorkflowExecution) { e.Spec.Cancel = forged }); err != nil {
		t.Fatal(err)
	}
	if got := e.Spec.Cancel.RequestedBy; got != user {
		t.Errorf("cancel is requested by %q, want %q", got, user)
	}
	if err := change(func(e *v1alpha1.WorkflowExecution) { e.Spec.Cancel.RequestedBy = "system:admin" }); err == nil && e.Spec.Cancel.RequestedBy != user {
		t.Errorf("cancel.requestedBy was edited afterwards: %q", e.Spec.Cancel.RequestedBy)
	}
	if e = w.untilRecorded(e); e.Status.Phase != v1alpha1.PhaseCancelled {
		t.Errorf("phase %s, want Cancelled", e.Status.Phase)
	}
}

// A cleared block lets exactly the next run through; who cleared it and why is in
// the trail once; to clear it again does nothing.
func TestAClearedBlockLetsOneRunThrough(t *testing.T) {
	w := spec(t)
	w.deployment("app")
	user := w.namespace + "-carol"
	w.bind(user, "kubernaut-unblock", v1alpha1.SystemNamespace)
	first := w.untilRecorded(w.execute("fails", w.target("app"), password("one")))
	skipped := w.untilRecorded(w.execute("fails", w.target("app"), password("two")))
	if d := skipped.Status.SkipDetails; d == nil || d.Reason != v1alpha1.SkipPreviousExecutionFailed || d.BlockID != first.UID {
		t.Fatalf("after a failure: %s %+v, want it blocked by %s", skipped.Status.Phase, d, first.UID)
	}
	clearing := func(reason string) error {
		var rt v1alpha1.RemediationTarget
		key := client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: first.Status.Target.Record}
		if err := w.Client.Get(w.ctx, key, &rt); err != nil {
			return err
		}
		before := rt.DeepCopy()
		rt.Spec.ClearBlock = &v1alpha1.ClearBlock{Workflow: "fails", BlockID: first.UID, Reason: reason, ClearedBy: "system:admin"}
		return w.as(user).Client.Patch(w.ctx, &rt, client.MergeFrom(before))
	}
	if err := clearing("  "); err == nil || !strings.Contains(err.Error(), "say why") {
		t.Errorf("an empty reason: %v", err)
	}
	for range 2 { // the second answers nothing, and is taken out of the record as well
		if err := clearing("looked at it"); err != nil {
			t.Fatal(err)
		}
		w.eventually("the wish is answered", func() error { return w.answered(first) })
	}
	through := w.untilRecorded(w.execute("fails", w.target("app"), password("three")))
	if through.Status.Phase != v1alpha1.PhaseFailed || through.Status.PipelineRunRef == nil {
		t.Errorf("after the clearing: %s, want that it ran", through.Status.Phase)
	}
	if next := w.untilRecorded(w.execute("fails", w.target("app"), password("four"))); next.Status.Phase != v1alpha1.PhaseSkipped {
		t.Errorf("the run after: %s, want Skipped again", next.Status.Phase)
	}
	clearings := 0
	for _, event := range w.trail(first) {
		if event.EventAction != "block_cleared" {
			continue
		}
		clearings++
		if said := string(event.EventData); !strings.Contains(said, user) || !strings.Contains(said, "looked at it") {
			t.Errorf("the trail does not say who and why: %s", said)
		}
	}
	if clearings != 1 {
		t.Errorf("the clearing is %d times in the trail, want once", clearings)
	}
}

var errUnanswered = errors.New("the wish to clear the block is not answered yet")

// eventually looks at what cannot be watched until nothing is wrong with it.
func (w *world) eventually(what string, ok func() error) {
	w.Helper()
	var last error
	err := wait.PollUntilContextTimeout(w.ctx, interval, patience, true, func(context.Context) (bool, error) {
		last = ok()
		return last == nil, nil
	})
	if err != nil {
		w.Fatalf("%s: not within %s: %v", what, patience, last)
	}
}

// answered is an error until the record carries no wish and the clearing is in the
// trail.
func (w *world) answered(e *v1alpha1.WorkflowExecution) error {
	var rt v1alpha1.RemediationTarget
	key := client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: e.Status.Target.Record}
	if err := w.Client.Get(w.ctx, key, &rt); err != nil {
		return err
	}
	if rt.Spec.ClearBlock != nil || rt.Status.LastCleared == nil || !rt.Status.LastCleared.Recorded {
		return errUnanswered
	}
	return nil
}
