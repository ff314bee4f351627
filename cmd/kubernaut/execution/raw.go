package execution

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// rawFrom begins a watch after resourceVersion.
func rawFrom(resourceVersion string) *metav1.ListOptions {
	return &metav1.ListOptions{ResourceVersion: resourceVersion}
}
