// Package v1alpha1 holds Kubernaut's Kubernetes objects: WorkflowExecution and
// RemediationTarget.
//
// +kubebuilder:object:generate=true
// +groupName=kubernaut.ai
package v1alpha1
