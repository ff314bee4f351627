package enginetest

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// hand writes to an API server what others would.
type hand struct{ client client.Client }

func now() *metav1.Time {
	t := metav1.Now()
	return &t
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h hand) create(t *testing.T, obj client.Object) {
	t.Helper()
	must(t, h.client.Create(t.Context(), obj))
}

// find reads an object anew and says whether it is there.
func (h hand) find(t *testing.T, obj client.Object) bool {
	t.Helper()
	err := h.client.Get(t.Context(), client.ObjectKeyFromObject(obj), obj)
	must(t, client.IgnoreNotFound(err))
	return err == nil
}

// change changes the status of an object, read anew.
func change(t *testing.T, h hand, obj client.Object, edit func()) {
	t.Helper()
	for {
		must(t, h.client.Get(t.Context(), client.ObjectKeyFromObject(obj), obj))
		edit()
		err := h.client.Status().Update(t.Context(), obj)
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			t.Fatal(err)
		}
	}
}

// delete asks for the deletion of an object.
func (h hand) delete(t *testing.T, obj client.Object) {
	t.Helper()
	must(t, h.client.Delete(t.Context(), obj, client.PropagationPolicy(metav1.DeletePropagationBackground)))
}

// remove deletes an object by force, finalizers and all.
func (h hand) remove(t *testing.T, obj client.Object) {
	t.Helper()
	must(t, h.client.Patch(t.Context(), obj, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))))
	must(t, client.IgnoreNotFound(h.client.Delete(t.Context(), obj, client.PropagationPolicy(metav1.DeletePropagationBackground))))
}

// vanish removes a pod as the kubelet does when it has ended.
func (h hand) vanish(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	must(t, client.IgnoreNotFound(h.client.Delete(t.Context(), pod, client.GracePeriodSeconds(0))))
}

// podOf is a pod that a scheduler has given to a node.
func podOf(m metav1.ObjectMeta, spec corev1.PodSpec) *corev1.Pod {
	spec.NodeName = "node"
	return &corev1.Pod{ObjectMeta: m, Spec: spec}
}

// startContainer plays the kubelet: the container is created and runs.
func (h hand) startContainer(t *testing.T, pod *corev1.Pod, name string) {
	t.Helper()
	change(t, h, pod, func() {
		pod.Status.Phase = corev1.PodRunning
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: name, ImageID: "sha256:1", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: *now()}},
		}}
	})
}

// endPod plays the kubelet: the container has exited, if it was ever created.
func (h hand) endPod(t *testing.T, pod *corev1.Pod, code int32) {
	t.Helper()
	if !h.find(t, pod) {
		return
	}
	change(t, h, pod, func() {
		phase, reason := corev1.PodSucceeded, "Completed"
		if code != 0 {
			phase, reason = corev1.PodFailed, "Error"
		}
		pod.Status.Phase = phase
		for i := range pod.Status.ContainerStatuses {
			pod.Status.ContainerStatuses[i].State = corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, FinishedAt: *now()},
			}
		}
	})
}
