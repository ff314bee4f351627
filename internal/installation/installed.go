package installation

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Part is one program of an installation.
type Part struct {
	Name    string `json:"name"`
	Version string `json:"version"` // of the chart's application
	Image   string `json:"image"`
}

// Installed are the programs of Kubernaut itself that the cluster runs.
func Installed(ctx context.Context, core kubernetes.Interface) ([]Part, error) {
	list, err := core.AppsV1().Deployments(v1alpha1.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: PartOf})
	if err != nil {
		return nil, fmt.Errorf("looking at what is installed: %w", err)
	}
	var all []Part
	for _, d := range list.Items {
		component := d.Labels["app.kubernetes.io/component"]
		if component != "controller" && component != "datastorage" {
			continue
		}
		all = append(all, Part{component, d.Labels["app.kubernetes.io/version"], d.Spec.Template.Spec.Containers[0].Image})
	}
	return all, nil
}
