package connect

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cluster/forward"
	"kubernaut.ai/kubernaut/internal/registry"
)

// Registry is where an installation has its workflows and their images.
type Registry struct {
	registry.Options
	Prefix string // of every reference: host, or host/path
}

// Registry returns the registry of the cluster's installation and how it is
// reached: with the pull secret of the runs, the registry's own CA, and, when it
// is a Service in the cluster, through the API server.
func (c *Cluster) Registry(ctx context.Context) (Registry, error) {
	ca, err := c.authority(ctx, v1alpha1.RegistryTLS)
	if err != nil {
		return Registry{}, err
	}
	key := client.ObjectKey{Namespace: v1alpha1.WorkflowNamespace, Name: v1alpha1.DefaultPullSecret}
	var secret corev1.Secret
	if err := c.Client.Get(ctx, key, &secret); err != nil {
		return Registry{}, Explain(fmt.Errorf("reading the registry's password in Secret %s: %w", key, err))
	}
	r := Registry{Prefix: v1alpha1.RegistryHost, Options: registry.Options{CA: ca}}
	if other := secret.Annotations[v1alpha1.AnnotationRegistry]; other != "" {
		r.Prefix = other
	}
	host, _, _ := strings.Cut(r.Prefix, "/")
	if forward.Names(host) {
		r.Dial = c.Dial
	}
	var ok bool
	r.Credentials, ok, err = registry.Login(secret.Data[corev1.DockerConfigJsonKey], host)
	if err != nil {
		return Registry{}, fmt.Errorf("the Secret %s: %w", key, err)
	}
	if !ok {
		return Registry{}, fmt.Errorf("the Secret %s has no login for %s", key, host)
	}
	return r, nil
}
