package job

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/engine"
)

// labelEngine tells the pods of this engine from those of others.
const labelEngine = "kubernaut.ai/engine"

// mountRoot is where Secrets and ConfigMaps appear, as Tekton's workspaces do.
const mountRoot = "/workspace/"

func to[T any](v T) *T { return &v }

// jobOf is the Job of a run. It is a pure function of the spec: the same wish is
// the same object. Its code runs at most once: no pod is made again, no container
// started again.
func jobOf(spec engine.Spec) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: spec.ObjectMeta(),
		Spec: batchv1.JobSpec{
			Completions:           to(int32(1)),
			Parallelism:           to(int32(1)),
			BackoffLimit:          to(int32(0)),
			ActiveDeadlineSeconds: to(int64(max(spec.Timeout+time.Second-1, time.Second) / time.Second)),
			Template:              template(spec),
		},
	}
}

// occupant is a Job that ends before it makes a pod.
func occupant(spec engine.Spec) *batchv1.Job {
	spec.Image, spec.Secrets, spec.ConfigMaps, spec.Parameters = "kubernaut.local/never-started:1", nil, nil, nil
	job := jobOf(spec)
	job.Annotations[engine.AnnotationOccupant] = "true"
	job.Spec.ActiveDeadlineSeconds = to(int64(0))
	return job
}

func template(spec engine.Spec) corev1.PodTemplateSpec {
	meta := spec.ObjectMeta()
	meta.Labels[labelEngine] = Name
	volumes, mounts := volumes(spec)
	pod := corev1.PodSpec{
		RestartPolicy:      corev1.RestartPolicyNever,
		ServiceAccountName: spec.ServiceAccount,
		EnableServiceLinks: to(false),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:   to(true),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: Step, Image: spec.Image, Env: env(spec), VolumeMounts: mounts,
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: to(false),
				Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
		Volumes: volumes,
	}
	if spec.PullSecret != "" {
		pod.ImagePullSecrets = []corev1.LocalObjectReference{{Name: spec.PullSecret}}
	}
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: meta.Labels, Annotations: meta.Annotations, Finalizers: meta.Finalizers},
		Spec:       pod,
	}
}

// env are the parameters, sorted, with the target last.
func env(spec engine.Spec) []corev1.EnvVar {
	var all []corev1.EnvVar
	for _, name := range slices.Sorted(maps.Keys(spec.Parameters)) {
		if name != v1alpha1.TargetParameter {
			all = append(all, corev1.EnvVar{Name: name, Value: literally(spec.Parameters[name])})
		}
	}
	return append(all, corev1.EnvVar{Name: v1alpha1.TargetParameter, Value: literally(spec.Target)})
}

// literally keeps Kubernetes from expanding $(NAME) in a value.
func literally(value string) string { return strings.ReplaceAll(value, "$", "$$") }

// volumes mount each Secret and ConfigMap at /workspace/NAME.
func volumes(spec engine.Spec) (all []corev1.Volume, mounts []corev1.VolumeMount) {
	add := func(name string, source corev1.VolumeSource) {
		volume := fmt.Sprintf("reference-%d", len(all)) // the name of a Secret may be longer than that of a volume
		all = append(all, corev1.Volume{Name: volume, VolumeSource: source})
		mounts = append(mounts, corev1.VolumeMount{Name: volume, MountPath: mountRoot + name, ReadOnly: true})
	}
	for _, name := range spec.Secrets {
		add(name, corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}})
	}
	for _, name := range spec.ConfigMaps {
		add(name, corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}})
	}
	return all, mounts
}
