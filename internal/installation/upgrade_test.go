package installation

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

var now = os.DirFS("../../charts/kubernaut/crds")

// TestUpgradeFromTheReleaseBefore works on an API server that knows the kinds as
// they were first written, with objects of that time.
func TestUpgradeFromTheReleaseBefore(t *testing.T) {
	w := newWorld(t)
	if err := Upgrade(t.Context(), w.cfg, os.DirFS("testdata/before"), func(string) {}); err != nil {
		t.Fatalf("back to the release before: %v", err)
	}
	e := w.execution("of-before")
	e.Status.Phase = v1alpha1.PhaseRunning
	if err := w.Status().Update(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	record := &v1alpha1.RemediationTarget{
		ObjectMeta: metav1.ObjectMeta{Name: "of-before", Namespace: v1alpha1.SystemNamespace},
		Spec:       v1alpha1.RemediationTargetSpec{Target: "default/deployment.apps/app"},
	}
	w.make(record)

	if err := Upgrade(t.Context(), w.cfg, now, func(note string) { t.Log(note) }); err != nil {
		t.Fatal(err)
	}

	if err := w.Get(t.Context(), client.ObjectKeyFromObject(e), e); err != nil || e.Status.Phase != v1alpha1.PhaseRunning {
		t.Fatalf("the execution of before is %s: %v", e.Status.Phase, err)
	}
	e.Status.Phase, e.Status.UserCodeStarted = v1alpha1.PhaseCompleted, true
	if err := w.Status().Update(t.Context(), e); err != nil {
		t.Errorf("an execution of before cannot end: %v", err)
	}
	before := client.MergeFrom(e.DeepCopy())
	e.Spec.Cancel = &v1alpha1.CancelRequest{Mode: v1alpha1.CancelGraceful, Reason: "the test asks"}
	if err := w.Patch(t.Context(), e, before); err != nil {
		t.Errorf("an execution of before cannot be cancelled: %v", err)
	}
}

func TestAnUpgradeThatObjectsWouldNotSurviveIsTakenBack(t *testing.T) {
	w := newWorld(t)
	e := w.execution("here")
	stricter := fstest.MapFS{}
	paths, err := filepath.Glob("../../charts/kubernaut/crds/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := "WorkflowID is the workflow's name in the catalog.\n                    maxLength: 253\n                    minLength: "
		text := strings.ReplaceAll(string(raw), name+"1", name+"5") // ours has one letter
		stricter[filepath.Base(path)] = &fstest.MapFile{Data: []byte(text)}
	}

	err = Upgrade(t.Context(), w.cfg, stricter, func(note string) { t.Log(note) })

	if err == nil || !strings.Contains(err.Error(), "WorkflowExecution default/"+e.Name) {
		t.Fatalf("got %v", err)
	}
	w.execution("there") // still valid: the definitions are as they were
}

func TestAnUpgradeThatForgetsAVersionIsRefused(t *testing.T) {
	w := newWorld(t)
	scheme := w.Scheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("../../charts/kubernaut/crds/kubernaut.ai_remediationtargets.yaml")
	if err != nil {
		t.Fatal(err)
	}
	other := fstest.MapFS{"targets.yaml": &fstest.MapFile{Data: []byte(strings.ReplaceAll(string(raw), "name: v1alpha1", "name: v1"))}}
	if err := Upgrade(t.Context(), w.cfg, other, func(string) {}); err == nil || !strings.Contains(err.Error(), "stored as v1alpha1") {
		t.Errorf("got %v", err)
	}
	unknown := fstest.MapFS{"targets.yaml": &fstest.MapFile{Data: []byte(strings.ReplaceAll(string(raw), "remediationtargets.kubernaut.ai", "others.kubernaut.ai"))}}
	if err := Upgrade(t.Context(), w.cfg, unknown, func(string) {}); !errors.Is(err, ErrAbsent) {
		t.Errorf("got %v", err)
	}
}
