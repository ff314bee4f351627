package derive

import (
	corev1 "k8s.io/api/core/v1"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

func (r *reader) podSpec(spec corev1.PodSpec) {
	account := spec.ServiceAccountName
	if account == "" {
		account = defaultAccount
	}
	r.local("ServiceAccount", account)
	if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
		r.local("ConfigMap", rootCA)
	}
	for _, secret := range spec.ImagePullSecrets {
		r.local("Secret", secret.Name)
	}
	if spec.PriorityClassName != "" {
		r.need(plan.Object{Kind: "PriorityClass", Name: spec.PriorityClassName})
	}
	if spec.RuntimeClassName != nil {
		r.need(plan.Object{Kind: "RuntimeClass", Name: *spec.RuntimeClassName})
	}
	for _, c := range append(spec.InitContainers, spec.Containers...) {
		r.container(c)
	}
	for _, v := range spec.Volumes {
		r.volume(v.VolumeSource)
	}
}

func (r *reader) container(c corev1.Container) {
	r.need(Image(c.Image))
	for _, from := range c.EnvFrom {
		if ref := from.ConfigMapRef; ref != nil {
			r.reference("ConfigMap", ref.Name, "", ref.Optional)
		}
		if ref := from.SecretRef; ref != nil {
			r.reference("Secret", ref.Name, "", ref.Optional)
		}
	}
	for _, env := range c.Env {
		if env.ValueFrom == nil {
			continue
		}
		if ref := env.ValueFrom.ConfigMapKeyRef; ref != nil {
			r.reference("ConfigMap", ref.Name, ref.Key, ref.Optional)
		}
		if ref := env.ValueFrom.SecretKeyRef; ref != nil {
			r.reference("Secret", ref.Name, ref.Key, ref.Optional)
		}
	}
}

func (r *reader) volume(v corev1.VolumeSource) {
	if v.ConfigMap != nil {
		r.items("ConfigMap", v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.Optional)
	}
	if v.Secret != nil {
		r.items("Secret", v.Secret.SecretName, v.Secret.Items, v.Secret.Optional)
	}
	if v.PersistentVolumeClaim != nil {
		r.local("PersistentVolumeClaim", v.PersistentVolumeClaim.ClaimName)
	}
	if v.Projected == nil {
		return
	}
	for _, source := range v.Projected.Sources {
		if s := source.ConfigMap; s != nil {
			r.items("ConfigMap", s.Name, s.Items, s.Optional)
		}
		if s := source.Secret; s != nil {
			r.items("Secret", s.Name, s.Items, s.Optional)
		}
	}
}

// items needs the whole object, and each key that is picked from it.
func (r *reader) items(kind, name string, items []corev1.KeyToPath, optional *bool) {
	r.reference(kind, name, "", optional)
	for _, item := range items {
		r.reference(kind, name, item.Key, optional)
	}
}

func (r *reader) reference(kind, name, key string, optional *bool) {
	of := plan.Object{Kind: kind, Namespace: r.self.Namespace, Name: name, Key: key}
	r.needs = append(r.needs, plan.Need{By: r.self, Of: of, Optional: optional != nil && *optional})
}
