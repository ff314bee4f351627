// Package v1alpha1 holds Kubernaut's Kubernetes objects.
//
// A WorkflowExecution asks for one run of one workflow on one target. A
// RemediationTarget is the record of one target: who holds it now, and what its
// past says about the next run. The Pause is the switch of the whole controller.
// None has behaviour here; package execution decides, package controller writes.
//
// +kubebuilder:object:generate=true
// +groupName=kubernaut.ai
package v1alpha1

//go:generate go tool -modfile=../../tools/go.mod controller-gen object paths=. output:object:dir=.
//go:generate go tool -modfile=../../tools/go.mod controller-gen crd:allowDangerousTypes=true paths=. output:crd:dir=../../charts/kubernaut/crds
