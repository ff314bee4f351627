package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PauseName is the name of the one Pause there is, in SystemNamespace.
const PauseName = "controller"

// Pause is the switch of the whole controller: while it is on, nothing new is
// started; what runs goes on to its end. It stays when it is off, and tells who
// turned it last and why.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=kubernaut
// +kubebuilder:printcolumn:name="Paused",type=boolean,JSONPath=`.spec.paused`
// +kubebuilder:printcolumn:name="By",type=string,JSONPath=`.spec.setBy`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.spec.reason`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'controller'",message="there is one switch: name it controller"
type Pause struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// +required
	Spec PauseSpec `json:"spec"`
}

// PauseList is a list of Pauses.
//
// +kubebuilder:object:root=true
type PauseList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []Pause `json:"items"`
}

// PauseSpec says whether the controller is paused, by whom and why.
type PauseSpec struct {
	// Paused keeps every execution from taking its target.
	// +required
	Paused bool `json:"paused"`
	// Reason is why it is paused, or goes on.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
	// SetBy is who turned the switch last, stamped at admission.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	SetBy string `json:"setBy,omitempty"`
}
