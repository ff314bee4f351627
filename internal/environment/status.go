package environment

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cluster"
	"kubernaut.ai/kubernaut/internal/environment/upstream"
)

// Status is an environment as it was seen at one moment.
type Status struct {
	Name      string         `json:"name"`
	Cluster   cluster.Status `json:"cluster"`
	Workloads []Workload     `json:"workloads,omitempty"`
}

// Workload is one Deployment or StatefulSet of the environment.
type Workload struct {
	Namespace string `json:"namespace"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Ready     int32  `json:"ready"`
	Wanted    int32  `json:"wanted"`
}

// Ready tells whether the cluster and everything in it is ready.
func (s Status) Ready() bool {
	return s.Cluster.State == cluster.Ready && len(s.Workloads) > 0 &&
		!slices.ContainsFunc(s.Workloads, func(w Workload) bool { return w.Ready < w.Wanted })
}

// GetStatus looks at the environment and changes nothing.
func GetStatus(ctx context.Context, o Options) (Status, error) {
	w, err := newWorld(o.named())
	if err != nil {
		return Status{}, err
	}
	c, err := w.anyCluster()
	if err != nil {
		return Status{}, err
	}
	status := Status{Name: w.options.Name}
	if status.Cluster, err = c.Status(ctx); err != nil || status.Cluster.State != cluster.Ready {
		return status, err
	}
	k, err := w.kube()
	if err != nil {
		return status, err
	}
	for _, namespace := range []string{"kube-system", upstream.TektonNamespace, upstream.ResolversNamespace, v1alpha1.SystemNamespace} {
		found, err := k.workloads(ctx, namespace)
		if err != nil {
			return status, err
		}
		status.Workloads = append(status.Workloads, found...)
	}
	return status, nil
}

func (k *kube) workloads(ctx context.Context, namespace string) ([]Workload, error) {
	deployments, err := k.Core.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("looking at namespace %s: %w", namespace, err)
	}
	sets, err := k.Core.AppsV1().StatefulSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("looking at namespace %s: %w", namespace, err)
	}
	var found []Workload
	for _, d := range deployments.Items {
		found = append(found, Workload{namespace, "Deployment", d.Name, d.Status.AvailableReplicas, wanted(d.Spec.Replicas)})
	}
	for _, s := range sets.Items {
		found = append(found, Workload{namespace, "StatefulSet", s.Name, s.Status.AvailableReplicas, wanted(s.Spec.Replicas)})
	}
	return found, nil
}

func wanted(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}
