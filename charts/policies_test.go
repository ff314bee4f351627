package charts

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

const controllerAccount = "system:serviceaccount:" + v1alpha1.SystemNamespace + ":kubernaut-controller"

// TestOnARealAPIServer installs the chart once and then tries to get around it.
func TestOnARealAPIServer(t *testing.T) {
	if testing.Short() {
		t.Skip("needs kube-apiserver: run make test")
	}
	k := installed(t, "environment")
	k.inForce()
	for name, test := range map[string]func(*testing.T, cluster){
		"PodsOfTheChartAreRestricted": podsOfTheChart,
		"WhoCreatedIsStamped":         createdBy,
		"WhoCancelledIsStamped":       cancelledBy,
		"WhoClearedIsStamped":         clearedBy,
		"RemediateIsNeeded":           remediate,
		"WhoPausedIsStamped":          pausedBy,
		"TheMarkIsTheControllers":     settledMark,
		"TheFinalizerStays":           finalizerStays,
		"PodsOfRunsAreRestricted":     podsOfRuns,
	} {
		t.Run(name, func(t *testing.T) {
			k := k
			k.t = t
			test(t, k)
		})
	}
}

// podsOfTheChart asks Pod Security itself about every pod template.
func podsOfTheChart(t *testing.T, k cluster) {
	for _, w := range workloads(t, renderSet(t, "environment")) {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "pod", Namespace: w.namespace, Labels: w.pod.Labels},
			Spec:       w.pod.Spec,
		}
		if err := k.admin.Create(t.Context(), pod, client.DryRunAll); err != nil {
			t.Errorf("%s: %v", w.name, err)
		}
	}
}

func createdBy(t *testing.T, k cluster) {
	k.bind("ada", "kubernaut-edit", "default")
	k.bind("ada", "kubernaut-remediate", "payment")
	for name, claimed := range map[string]string{"honest": "", "forged": "somebody-else"} {
		ex := execution(name, "payment/deployment/web")
		ex.Spec.CreatedBy = claimed
		ex.Finalizers = []string{"example.org/other"}
		if err := k.as("ada").Create(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
		if ex.Spec.CreatedBy != "ada" {
			t.Errorf("%s: created by %q, want ada", name, ex.Spec.CreatedBy)
		}
		if want := []string{"example.org/other", v1alpha1.ExecutionFinalizer}; !slices.Equal(ex.Finalizers, want) {
			t.Errorf("%s: finalizers are %q, want %q", name, ex.Finalizers, want)
		}
		ex.Spec.CreatedBy = "later"
		if err := k.as("ada").Update(t.Context(), ex); err == nil {
			t.Errorf("%s: createdBy was changed later", name)
		}
	}
}

// settledMark: an execution that carries the mark is looked at by nobody, so only
// the controller may set it.
func settledMark(t *testing.T, k cluster) {
	k.bind("dan", "kubernaut-edit", "default")
	k.bind("dan", "kubernaut-remediate", "payment")
	ex := execution("hidden", "payment/deployment/web")
	ex.Labels = map[string]string{v1alpha1.LabelSettled: "Completed"}
	if err := k.as("dan").Create(t.Context(), ex); err == nil || !strings.Contains(err.Error(), "belongs to the controller") {
		t.Errorf("creating one with the mark: %v", err)
	}
	ex.Labels = map[string]string{"team": "payment"}
	if err := k.as("dan").Create(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
	mark := func(c client.Client) error {
		before := ex.DeepCopy()
		metav1.SetMetaDataLabel(&ex.ObjectMeta, v1alpha1.LabelSettled, "Completed")
		err := c.Patch(t.Context(), ex, client.MergeFrom(before))
		if err != nil {
			ex = before
		}
		return err
	}
	if err := mark(k.as("dan")); err == nil {
		t.Error("dan has hidden an execution from the controller")
	}
	if err := mark(k.as(controllerAccount, "system:serviceaccounts", "system:serviceaccounts:"+v1alpha1.SystemNamespace)); err != nil {
		t.Errorf("the controller may not set its own mark: %v", err)
	}
	before := ex.DeepCopy()
	ex.Labels["team"] = "other"
	if err := k.as("dan").Patch(t.Context(), ex, client.MergeFrom(before)); err != nil {
		t.Errorf("changing another label beside the mark: %v", err)
	}
}

// finalizerStays: with our finalizer an execution loses the audit events that are not
// sent yet, so that the controller takes it off, or who may do anything.
func finalizerStays(t *testing.T, k cluster) {
	k.bind("finn", "kubernaut-edit", "default")
	k.bind("finn", "kubernaut-remediate", "payment")
	controller := k.as(controllerAccount, "system:serviceaccounts", "system:serviceaccounts:"+v1alpha1.SystemNamespace)
	for name, releases := range map[string]client.Client{"of-the-controller": controller, "of-the-administrator": k.admin} {
		ex := execution(name, "payment/deployment/web")
		ex.Finalizers = []string{"example.org/other"}
		if err := k.as("finn").Create(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
		leave := func(c client.Client, finalizers ...string) error {
			next := ex.DeepCopy()
			next.Finalizers = finalizers
			err := c.Patch(t.Context(), next, client.MergeFrom(ex))
			if err == nil {
				ex = next
			}
			return err
		}
		if err := leave(k.as("finn"), v1alpha1.ExecutionFinalizer); err != nil {
			t.Errorf("%s: taking off the finalizer of another: %v", name, err)
		}
		if err := k.as("finn").Delete(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
		if err := leave(k.as("finn")); err == nil || !strings.Contains(err.Error(), "verb release on workflowexecutions in namespace default") {
			t.Errorf("%s: finn takes our finalizer off: %v", name, err)
		}
		if err := leave(releases); err != nil {
			t.Errorf("%s: its finalizer cannot be taken off: %v", name, err)
		}
	}
}

func pausedBy(t *testing.T, k cluster) {
	k.bind("erin", "kubernaut-pause", v1alpha1.SystemNamespace)
	k.bind("frank", "kubernaut-pause", v1alpha1.SystemNamespace)
	p := &v1alpha1.Pause{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.PauseName},
		Spec:       v1alpha1.PauseSpec{Paused: true, Reason: " ", SetBy: "somebody-else"},
	}
	if err := k.as("erin").Create(t.Context(), p.DeepCopy()); err == nil || !strings.Contains(err.Error(), "say why") {
		t.Errorf("an empty reason: %v", err)
	}
	second := p.DeepCopy()
	second.Name, second.Spec.Reason = "another", "why not"
	if err := k.as("erin").Create(t.Context(), second); err == nil || !strings.Contains(err.Error(), "name it controller") {
		t.Errorf("a second switch: %v", err)
	}
	p.Spec.Reason = "the network is being moved"
	if err := k.as("stranger").Create(t.Context(), p.DeepCopy()); err == nil {
		t.Error("a stranger has paused the controller")
	}
	if err := k.as("erin").Create(t.Context(), p); err != nil || p.Spec.SetBy != "erin" {
		t.Fatalf("paused by %q: %v, want erin", p.Spec.SetBy, err)
	}
	p.Spec.Paused, p.Spec.Reason = false, "it is moved"
	if err := k.as("frank").Update(t.Context(), p); err != nil || p.Spec.SetBy != "frank" {
		t.Errorf("resumed by %q: %v, want frank", p.Spec.SetBy, err)
	}
	p.Spec.SetBy = "erin"
	if err := k.as("frank").Update(t.Context(), p); err != nil || p.Spec.SetBy != "frank" {
		t.Errorf("forged afterwards: %q, %v, want frank", p.Spec.SetBy, err)
	}
}

func cancelledBy(t *testing.T, k cluster) {
	k.bind("bob", "kubernaut-edit", "default")
	k.bind("eve", "kubernaut-edit", "default")
	ex := execution("cancelled", "payment/deployment/web")
	if err := k.admin.Create(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
	cancel := func(user string, request v1alpha1.CancelRequest) error {
		before := ex.DeepCopy()
		ex.Spec.Cancel = &request
		err := k.as(user).Patch(t.Context(), ex, client.MergeFrom(before))
		if err != nil {
			ex = before
		}
		return err
	}
	if err := cancel("bob", v1alpha1.CancelRequest{Mode: "Graceful", Reason: "  "}); err == nil || !strings.Contains(err.Error(), "say why") {
		t.Errorf("an empty reason: %v", err)
	}
	if err := cancel("bob", v1alpha1.CancelRequest{Mode: "Graceful", Reason: "wrong target", RequestedBy: "eve"}); err != nil {
		t.Fatal(err)
	}
	if got := ex.Spec.Cancel.RequestedBy; got != "bob" {
		t.Errorf("cancelled by %q, want bob", got)
	}
	if err := cancel("eve", v1alpha1.CancelRequest{Mode: "Graceful", Reason: "my reason"}); err == nil {
		t.Error("eve changed bob's reason")
	}
	if err := cancel("eve", v1alpha1.CancelRequest{Mode: "Immediate", Reason: "too slow"}); err != nil {
		t.Fatal(err)
	}
	if got := ex.Spec.Cancel.RequestedBy; got != "eve" {
		t.Errorf("made immediate by %q, want eve", got)
	}
	before := ex.DeepCopy()
	ex.Labels = map[string]string{"looked-at": "yes"}
	if err := k.as("bob").Patch(t.Context(), ex, client.MergeFrom(before)); err != nil || ex.Spec.Cancel.RequestedBy != "eve" {
		t.Errorf("a later change of something else: %v, cancelled by %q", err, ex.Spec.Cancel.RequestedBy)
	}
}

func clearedBy(t *testing.T, k cluster) {
	k.bind("carol", "kubernaut-unblock", v1alpha1.SystemNamespace)
	controller := k.as(controllerAccount,
		"system:serviceaccounts", "system:serviceaccounts:"+v1alpha1.SystemNamespace)
	record := &v1alpha1.RemediationTarget{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: v1alpha1.SystemNamespace, Finalizers: []string{v1alpha1.TargetFinalizer}},
		Spec:       v1alpha1.RemediationTargetSpec{Target: "payment/deployment.apps/web"},
	}
	if err := controller.Create(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	change := func(c client.Client, edit func(*v1alpha1.RemediationTarget)) error {
		next := record.DeepCopy()
		edit(next)
		err := c.Patch(t.Context(), next, client.MergeFrom(record))
		if err == nil {
			record = next
		}
		return err
	}
	carol := k.as("carol")
	wish := v1alpha1.ClearBlock{Workflow: "w", BlockID: "1", Reason: "fixed by hand", ClearedBy: "mallory"}
	for name, edit := range map[string]func(*v1alpha1.RemediationTarget){
		"an empty reason": func(rt *v1alpha1.RemediationTarget) {
			rt.Spec.ClearBlock = &v1alpha1.ClearBlock{Workflow: "w", BlockID: "1", Reason: " "}
		},
		"no finalizer":   func(rt *v1alpha1.RemediationTarget) { rt.Finalizers = nil },
		"another target": func(rt *v1alpha1.RemediationTarget) { rt.Spec.Target = "payment/deployment.apps/api" },
	} {
		if err := change(carol, edit); err == nil {
			t.Errorf("%s: carol's change was let through", name)
		}
	}
	if err := change(carol, func(rt *v1alpha1.RemediationTarget) { rt.Spec.ClearBlock = &wish }); err != nil {
		t.Fatal(err)
	}
	if got := record.Spec.ClearBlock.ClearedBy; got != "carol" {
		t.Errorf("cleared by %q, want carol", got)
	}
	if err := change(carol, func(rt *v1alpha1.RemediationTarget) { rt.Spec.ClearBlock.Reason = "another" }); err == nil {
		t.Error("a wish that is not applied yet was changed")
	}
	if err := change(controller, func(rt *v1alpha1.RemediationTarget) { rt.Spec.ClearBlock = nil }); err != nil {
		t.Errorf("the controller takes an applied wish away: %v", err)
	}
}

func remediate(t *testing.T, k cluster) {
	k.bind("dan", "kubernaut-edit", "default")
	k.bind("dan", "kubernaut-remediate", "payment")
	k.bind("dora", "kubernaut-edit", "default")
	k.bind("dora", "kubernaut-remediate", "")
	for _, c := range []struct{ user, target, want string }{
		{"dan", "payment/deployment/web", ""},
		{"dan", "billing/deployment/web", "in namespace billing (bind ClusterRole kubernaut-remediate there)"},
		{"dan", "node/worker-1", "in the whole cluster (bind ClusterRole kubernaut-remediate with a ClusterRoleBinding)"},
		{"dora", "billing/deployment/web", ""},
		{"dora", "node/worker-1", ""},
		{"nobody", "payment/deployment/web", "cannot create resource"},
	} {
		err := k.as(c.user).Create(t.Context(), execution("asked", c.target), client.DryRunAll)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s on %s: %v", c.user, c.target, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s on %s: %v, want %q", c.user, c.target, err, c.want)
		}
	}
}

func podsOfRuns(t *testing.T, k cluster) {
	pod := runPod(corev1.Container{Name: "silent", Image: "example"}, corev1.Container{
		Name: "outspoken", Image: "example",
		SecurityContext: &corev1.SecurityContext{
			RunAsUser:    new(int64(1000)),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_BIND_SERVICE"}},
		},
	})
	pod.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "example"}}
	if err := k.admin.Create(t.Context(), pod, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		s := c.SecurityContext
		if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !slices.Contains(s.Capabilities.Drop, "ALL") {
			t.Errorf("container %s: %+v", c.Name, s)
		}
	}
	outspoken := pod.Spec.Containers[1].SecurityContext
	if *outspoken.RunAsUser != 1000 || !slices.Contains(outspoken.Capabilities.Add, "NET_BIND_SERVICE") {
		t.Errorf("what the container says itself is lost: %+v", outspoken)
	}
	if s := pod.Spec.SecurityContext; !*s.RunAsNonRoot || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("pod: %+v", s)
	}
	root := runPod(corev1.Container{Name: "root", Image: "example", SecurityContext: &corev1.SecurityContext{RunAsUser: new(int64(0))}})
	if err := k.admin.Create(t.Context(), root, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "runAsUser=0") {
		t.Errorf("a container that insists on root: %v", err)
	}
	elsewhere := runPod(corev1.Container{Name: "free", Image: "example"})
	elsewhere.Namespace, elsewhere.Spec.ServiceAccountName = "default", ""
	if err := k.admin.Create(t.Context(), elsewhere, client.DryRunAll); err != nil || elsewhere.Spec.Containers[0].SecurityContext != nil {
		t.Errorf("a pod of another namespace: %v, %+v", err, elsewhere.Spec.Containers[0].SecurityContext)
	}
}
