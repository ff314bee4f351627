package connect

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/image"
)

// Registry is the private registry of an installation, by its name in the cluster.
const Registry = v1alpha1.RegistryHost

// Registry returns how the cluster's private registry is reached: through the
// API server, with the pull secret of the runs and the registry's own CA.
func (c *Cluster) Registry(ctx context.Context) (image.Options, error) {
	ca, err := c.authority(ctx, v1alpha1.RegistryTLS)
	if err != nil {
		return image.Options{}, err
	}
	key := client.ObjectKey{Namespace: v1alpha1.WorkflowNamespace, Name: v1alpha1.DefaultPullSecret}
	var secret corev1.Secret
	if err := c.Client.Get(ctx, key, &secret); err != nil {
		return image.Options{}, Explain(fmt.Errorf("reading the registry's password in Secret %s: %w", key, err))
	}
	var docker struct {
		Auths map[string]struct{ Username, Password string }
	}
	if err := json.Unmarshal(secret.Data[corev1.DockerConfigJsonKey], &docker); err != nil {
		return image.Options{}, fmt.Errorf("the Secret %s holds no readable %s", key, corev1.DockerConfigJsonKey)
	}
	login, ok := docker.Auths[Registry]
	if !ok {
		return image.Options{}, fmt.Errorf("the Secret %s has no login for %s", key, Registry)
	}
	return image.Options{Dial: c.Dial, CA: ca, Username: login.Username, Password: login.Password}, nil
}
