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

// View is an environment as it was seen at one moment.
type View struct {
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
func (v View) Ready() bool {
	return v.Cluster.State == cluster.Ready && len(v.Workloads) > 0 &&
		!slices.ContainsFunc(v.Workloads, func(w Workload) bool { return w.Ready < w.Wanted })
}

// Status looks at the environment and changes nothing.
func Status(ctx context.Context, o Options) (View, error) {
	w, err := existing(o)
	if err != nil {
		return View{}, err
	}
	c, err := w.anyCluster()
	if err != nil {
		return View{}, err
	}
	view := View{Name: w.options.Name}
	if view.Cluster, err = c.Status(ctx); err != nil || view.Cluster.State != cluster.Ready {
		return view, err
	}
	k, err := w.kube()
	if err != nil {
		return view, err
	}
	for _, namespace := range []string{"kube-system", upstream.TektonNamespace, upstream.ResolversNamespace, v1alpha1.SystemNamespace} {
		found, err := k.listWorkloads(ctx, namespace)
		if err != nil {
			return view, err
		}
		view.Workloads = append(view.Workloads, found...)
	}
	return view, nil
}

func (k *kube) listWorkloads(ctx context.Context, namespace string) ([]Workload, error) {
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
