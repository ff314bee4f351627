package installation

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/servers"
)

type world struct {
	*testing.T
	cfg *rest.Config
	client.WithWatch
}

func newWorld(t *testing.T) *world {
	t.Helper()
	cfg := servers.APIServer(t)
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t, cfg, c}
	w.make(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}})
	return w
}

func (w *world) make(o client.Object) {
	w.Helper()
	if err := w.Create(w.Context(), o); err != nil {
		w.Fatal(err)
	}
}

var part = map[string]string{"app.kubernetes.io/part-of": "kubernaut"}

func (w *world) execution(name string) *v1alpha1.WorkflowExecution {
	w.Helper()
	e := &v1alpha1.WorkflowExecution{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Finalizers: []string{v1alpha1.ExecutionFinalizer}},
		Spec: v1alpha1.WorkflowExecutionSpec{
			WorkflowRef: v1alpha1.WorkflowRef{WorkflowID: "w", Version: "1.0.0"}, TargetResource: "default/deployment/app",
		},
	}
	w.make(e)
	return e
}

// controller stands in for the real one: it ends what is cancelled and lets go
// of what has ended, until the test ends.
func (w *world) controller() {
	w.Helper()
	labels := map[string]string{"app": "controller"}
	of := maps.Clone(part)
	of["app.kubernetes.io/component"] = "controller"
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: controllerName, Namespace: v1alpha1.SystemNamespace, Labels: of},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
		},
	}
	w.make(d)
	d.Status.Replicas, d.Status.ReadyReplicas, d.Status.AvailableReplicas = 1, 1, 1
	if err := w.Status().Update(w.Context(), d); err != nil {
		w.Fatal(err)
	}
	events, err := w.Watch(w.Context(), &v1alpha1.WorkflowExecutionList{})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(events.Stop)
	go func() {
		for e := range events.ResultChan() {
			if ex, ok := e.Object.(*v1alpha1.WorkflowExecution); ok {
				w.reconcile(ex)
			}
		}
	}()
}

func (w *world) reconcile(e *v1alpha1.WorkflowExecution) {
	if e.Spec.Cancel != nil && !ended(e) {
		e.Status.Phase = v1alpha1.PhaseCancelled
		_ = w.Status().Update(context.Background(), e) // a conflict comes again
		return
	}
	if e.DeletionTimestamp != nil && ended(e) && controllerutil.RemoveFinalizer(e, v1alpha1.ExecutionFinalizer) {
		_ = w.Update(context.Background(), e) // a conflict comes again
	}
}

// guardRecords installs a policy like the chart's: nobody but the controller
// takes finalizers away from records.
func (w *world) guardRecords() {
	w.Helper()
	w.make(&admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "records", Labels: part},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{"kubernaut.ai"}, APIVersions: []string{"*"}, Resources: []string{"remediationtargets"}},
			}}}},
			Validations: []admissionv1.Validation{{Expression: "has(object.metadata.finalizers)", Message: "the finalizers belong to the controller"}},
		},
	})
	w.make(&admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "records", Labels: part},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "records", ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	})
}

func (w *world) remove(o Removal) error {
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	return Remove(ctx, w.cfg, o, func(note string) { w.Log(note) })
}

func (w *world) gone(o client.Object) {
	w.Helper()
	err := w.Get(w.Context(), client.ObjectKeyFromObject(o), o)
	if !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
		w.Errorf("%T %s is still there (%v)", o, o.GetName(), err)
	}
}

func TestRemove(t *testing.T) {
	w := newWorld(t)
	running := w.execution("running")
	record := &v1alpha1.RemediationTarget{
		ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: v1alpha1.SystemNamespace, Finalizers: []string{v1alpha1.TargetFinalizer}},
		Spec:       v1alpha1.RemediationTargetSpec{Target: "default/deployment.apps/app"},
	}
	w.make(record)
	w.guardRecords()
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings", Namespace: v1alpha1.SystemNamespace, Labels: part}}
	password := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "password", Namespace: v1alpha1.SystemNamespace, Labels: part}}
	other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: v1alpha1.SystemNamespace}}
	for _, o := range []client.Object{settings, password, other} {
		w.make(o)
	}

	if err := w.remove(Removal{}); err == nil || !strings.Contains(err.Error(), "the controller does not run") {
		t.Fatalf("without a controller: %v", err)
	}
	w.controller()
	core, err := kubernetes.NewForConfig(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if parts, err := Installed(t.Context(), core); err != nil || len(parts) != 1 || parts[0].Name != "controller" || parts[0].Image != "i" {
		t.Errorf("installed: %+v, %v", parts, err)
	}
	err = w.remove(Removal{})
	if !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), "default/running") {
		t.Fatalf("while an execution runs: %v", err)
	}
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(running), running); err != nil || running.DeletionTimestamp != nil {
		t.Fatalf("a refused removal has touched the execution: %v", err)
	}

	if err := w.remove(Removal{Cancel: true}); err != nil {
		t.Fatal(err)
	}
	w.gone(running)
	w.gone(record)
	w.gone(settings)
	for _, kept := range []client.Object{password, other} {
		if err := w.Get(t.Context(), client.ObjectKeyFromObject(kept), kept); err != nil {
			t.Errorf("%s was to be kept: %v", kept.GetName(), err)
		}
	}

	if err := w.remove(Removal{Purge: true}); err != nil {
		t.Fatalf("once more, and the data too: %v", err)
	}
	w.gone(password)
}

func TestRemoveByForceWithoutAController(t *testing.T) {
	w := newWorld(t)
	e := w.execution("forgotten")
	guest := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "of-a-guest", Namespace: "default", Labels: map[string]string{"kubernaut.ai/environment": "guest"}}}
	w.make(guest)
	if err := w.remove(Removal{Purge: true, Selector: "kubernaut.ai/environment=guest"}); err != nil {
		t.Fatalf("of a guest in an installation of others: %v", err)
	}
	w.gone(guest)
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(e), e); err != nil || e.DeletionTimestamp != nil {
		t.Fatalf("a guest has taken the executions of others with it: %v", err)
	}

	if err := w.remove(Removal{Force: true}); err != nil {
		t.Fatal(err)
	}
	w.gone(e)
}
