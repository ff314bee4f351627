package enginetest_test

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
	"kubernaut.ai/kubernaut/internal/engine/enginetest"
	"kubernaut.ai/kubernaut/internal/engine/job"
	"kubernaut.ai/kubernaut/internal/engine/tekton"
	"kubernaut.ai/kubernaut/test/servers"
)

func spec(ref engine.Ref) engine.Spec {
	return engine.Spec{
		Ref: ref, ExecutionName: "team/" + ref.Name, WorkflowID: "heal", Version: "1.0.0", Target: "team/deployment.apps/web",
		Record: "team-deployment-web-0123456789abcdef", CorrelationID: "case-1", FencingToken: 7, Image: "registry/heal@sha256:1",
		ServiceAccount: v1alpha1.DefaultServiceAccount, Parameters: map[string]string{"MODE": "fast"}, Timeout: 30 * time.Minute,
	}
}

func TestTheFakeIsAnEngine(t *testing.T) {
	f := enginetest.NewFake(time.Now)
	enginetest.Run(t, enginetest.Stage{Engine: f, Spec: spec, Play: f.Play})
}

// TestEngines runs the suite on a real API server, with somebody who writes what
// Tekton, the controller of Jobs and the kubelet write.
func TestEngines(t *testing.T) {
	c, err := client.New(servers.APIServer(t), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, add := range []error{pipelinev1.AddToScheme(scheme.Scheme), batchv1.AddToScheme(scheme.Scheme)} {
		if add != nil {
			t.Fatal(add)
		}
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.WorkflowNamespace}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	t.Run("Tekton", func(t *testing.T) {
		enginetest.Run(t, enginetest.Stage{Engine: tekton.New(c, c), Spec: spec, Play: enginetest.NewTekton(c).Play})
	})
	t.Run("Job", func(t *testing.T) {
		enginetest.Run(t, enginetest.Stage{Engine: job.New(c, c), Spec: spec, Play: enginetest.NewJobs(c).Play})
	})
}
