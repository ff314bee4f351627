package follow_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/connect"
	"kubernaut.ai/kubernaut/internal/follow"
)

// The steps of a run are looked for where its engine shows them, also when nobody
// knows of which workflow it is.
func TestStepsOfAJobOfAnUnknownWorkflow(t *testing.T) {
	ex := &v1alpha1.WorkflowExecution{ObjectMeta: metav1.ObjectMeta{Name: "job", UID: "u-1"}}
	ex.Status.PipelineRunRef = &v1alpha1.RunReference{Namespace: v1alpha1.WorkflowNamespace, Name: "run", Engine: "job"}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.WorkflowNamespace, Name: "run-x", Labels: map[string]string{v1alpha1.LabelExecutionUID: "u-1"}}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", ImageID: "sha256:1", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	tasks, err := follow.StepsOf(t.Context(), fake.NewClientBuilder().WithScheme(connect.Scheme).WithObjects(pod).Build(), ex)
	if err != nil || len(tasks) != 1 || len(tasks[0]) != 1 || tasks[0][0].Pod != "run-x" || !tasks[0][0].Began {
		t.Errorf("steps: %+v, %v; want the one of pod run-x", tasks, err)
	}
}

func TestOfSecretsInALineNothingIsLeft(t *testing.T) {
	ex := &v1alpha1.WorkflowExecution{}
	ex.Spec.Parameters = map[string]string{"USER": "horse", "PASSWORD": "correct-horse-battery", "EMPTY": ""}
	show := func() (shown string) {
		err := follow.LinesOf(strings.NewReader("login of horse with correct-horse-battery\n"), ex, func(line string) { shown = line })
		if err != nil {
			t.Fatal(err)
		}
		return shown
	}
	if got := show(); got != "login of ******** with ********" {
		t.Errorf("while it is not known what is secret: %q", got)
	}
	ex.Status.Workflow = &v1alpha1.ResolvedWorkflow{Parameters: []v1alpha1.DeclaredParameter{{Name: "USER"}, {Name: "PASSWORD", Secret: true}}}
	if got := show(); got != "login of horse with ********" {
		t.Errorf("when one is declared secret: %q", got)
	}
}
