package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// WorkflowExecution asks for one run of one workflow on one target, and tells
// what became of it. It is never changed after creation, except to cancel it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=wfe,categories=kubernaut
// +kubebuilder:selectablefield:JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Workflow",type=string,JSONPath=`.spec.workflowRef.workflowId`
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetResource`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].reason`
// +kubebuilder:printcolumn:name="Duration",type=string,JSONPath=`.status.duration`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Version",type=string,priority=1,JSONPath=`.spec.workflowRef.version`
// +kubebuilder:printcolumn:name="Run",type=string,priority=1,JSONPath=`.status.pipelineRunRef.name`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Succeeded")].message`
type WorkflowExecution struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// +required
	Spec WorkflowExecutionSpec `json:"spec"`
	// +optional
	Status WorkflowExecutionStatus `json:"status,omitzero"`
}

// WorkflowExecutionList is a list of WorkflowExecutions.
//
// +kubebuilder:object:root=true
type WorkflowExecutionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []WorkflowExecution `json:"items"`
}

// WorkflowExecutionSpec is what somebody asked for. Only cancel may be set later.
//
// +kubebuilder:validation:XValidation:message="spec is immutable; only cancel may be set later: delete this execution and create another",rule="self.workflowRef == oldSelf.workflowRef && self.targetResource == oldSelf.targetResource && has(self.parameters) == has(oldSelf.parameters) && (!has(self.parameters) || self.parameters == oldSelf.parameters) && has(self.secretRefs) == has(oldSelf.secretRefs) && (!has(self.secretRefs) || self.secretRefs == oldSelf.secretRefs) && has(self.configMapRefs) == has(oldSelf.configMapRefs) && (!has(self.configMapRefs) || self.configMapRefs == oldSelf.configMapRefs) && has(self.executionConfig) == has(oldSelf.executionConfig) && (!has(self.executionConfig) || self.executionConfig == oldSelf.executionConfig) && has(self.onBusy) == has(oldSelf.onBusy) && (!has(self.onBusy) || self.onBusy == oldSelf.onBusy) && has(self.maxWait) == has(oldSelf.maxWait) && (!has(self.maxWait) || self.maxWait == oldSelf.maxWait) && has(self.remediationRequestRef) == has(oldSelf.remediationRequestRef) && (!has(self.remediationRequestRef) || self.remediationRequestRef == oldSelf.remediationRequestRef) && has(self.confidence) == has(oldSelf.confidence) && (!has(self.confidence) || self.confidence == oldSelf.confidence) && has(self.rationale) == has(oldSelf.rationale) && (!has(self.rationale) || self.rationale == oldSelf.rationale) && has(self.createdBy) == has(oldSelf.createdBy) && (!has(self.createdBy) || self.createdBy == oldSelf.createdBy)"
// +kubebuilder:validation:XValidation:message="cancel cannot be taken back or changed; only Graceful may become Immediate",rule="!has(oldSelf.cancel) || (has(self.cancel) && (self.cancel == oldSelf.cancel || (oldSelf.cancel.mode == 'Graceful' && self.cancel.mode == 'Immediate')))"
type WorkflowExecutionSpec struct {
	// WorkflowRef names the workflow in the catalog.
	// +required
	WorkflowRef WorkflowRef `json:"workflowRef"`

	// TargetResource is what the workflow works on: namespace/kind/name, or
	// kind/name for a cluster-scoped object; a kind outside the core group may
	// carry its group, as in payment/deployment.apps/payment-api. At most one run
	// works on a target at a time.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[A-Za-z]([-A-Za-z0-9.]*[A-Za-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9._:]*[A-Za-z0-9])?$')",message="targetResource is namespace/kind/name, or kind/name for a cluster-scoped object, for example payment/deployment/payment-api or node/worker-1"
	TargetResource string `json:"targetResource"`

	// Parameters are handed to the workflow. Their keys are upper case with
	// underscores, their values at most 8 KiB; the workflow's catalog entry says
	// which exist and what they may be.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(key, size(key) <= 128 && key.matches('^[A-Z][A-Z0-9_]*$'))",message="the name of a parameter is upper case, as in MEMORY_LIMIT, and has at most 128 characters"
	// +kubebuilder:validation:XValidation:rule="self.all(key, size(self[key]) <= 8192)",message="the value of a parameter has at most 8192 characters"
	Parameters map[string]string `json:"parameters,omitempty"`

	// SecretRefs are Secrets in the namespace of the runs that the workflow mounts
	// as workspaces of the same name. Its catalog entry must declare them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	SecretRefs []string `json:"secretRefs,omitempty"`

	// ConfigMapRefs are ConfigMaps in the namespace of the runs that the workflow
	// mounts as workspaces of the same name. Its catalog entry must declare them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	ConfigMapRefs []string `json:"configMapRefs,omitempty"`

	// ExecutionConfig says how the run is carried out.
	// +optional
	ExecutionConfig *ExecutionConfig `json:"executionConfig,omitempty"`

	// OnBusy says what happens when the target is not free: Skip (the default)
	// ends the execution at once, Wait waits for its turn.
	// +optional
	OnBusy OnBusy `json:"onBusy,omitempty"`

	// MaxWait bounds every wait before the run exists. Default 15m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s') && duration(self) <= duration('168h')",message="maxWait is more than 0s and at most 168h, for example 15m"
	MaxWait *metav1.Duration `json:"maxWait,omitempty"`

	// RemediationRequestRef names what this execution belongs to. Its name is the
	// correlation id of the audit trail; without it that is the execution's UID.
	// +optional
	RemediationRequestRef *RemediationRequestRef `json:"remediationRequestRef,omitempty"`

	// Confidence is how sure whoever chose this workflow was, from 0 to 1.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	Confidence *float64 `json:"confidence,omitempty"`

	// Rationale is why this workflow was chosen.
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	Rationale string `json:"rationale,omitempty"`

	// CreatedBy is who created this execution, as the API server authenticated
	// them. It is stamped at admission; what a client sends is overwritten.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	CreatedBy string `json:"createdBy,omitempty"`

	// Cancel asks to stop. It may be set at any time and is never taken back.
	// +optional
	Cancel *CancelRequest `json:"cancel,omitempty"`
}

// WorkflowRef names one version of one workflow.
//
// +kubebuilder:validation:XValidation:message="containerDigest needs containerImage",rule="!has(self.containerDigest) || has(self.containerImage)"
type WorkflowRef struct {
	// WorkflowID is the workflow's name in the catalog.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	WorkflowID string `json:"workflowId"`

	// Version is the workflow's version in the catalog.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Version string `json:"version"`

	// ContainerImage is the OCI reference of the workflow's bundle. Without it the
	// catalog says where the bundle is.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	ContainerImage string `json:"containerImage,omitempty"`

	// ContainerDigest pins the bundle: the run uses image@digest and nothing else.
	// +optional
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	// +kubebuilder:validation:MaxLength=71
	ContainerDigest string `json:"containerDigest,omitempty"`
}

// ExecutionConfig says how the run is carried out.
type ExecutionConfig struct {
	// Timeout bounds the run, from its creation. Default 30m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s') && duration(self) <= duration('168h')",message="timeout is more than 0s and at most 168h, for example 30m"
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// ServiceAccountName runs the workflow. Its catalog entry must declare it.
	// Default: the catalog entry's, else kubernaut-workflow-runner.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
}

// OnBusy says what an execution does when its target is not free.
//
// +kubebuilder:validation:Enum=Skip;Wait
type OnBusy string

// What an execution does when its target is not free.
const (
	OnBusySkip OnBusy = "Skip"
	OnBusyWait OnBusy = "Wait"
)

// RemediationRequestRef names an object an execution belongs to.
type RemediationRequestRef struct {
	// +optional
	// +kubebuilder:validation:MaxLength=253
	APIVersion string `json:"apiVersion,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind,omitempty"`
	// Name is the correlation id of the audit trail.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// +optional
	UID types.UID `json:"uid,omitempty"`
}

// CancelMode says how a run is stopped.
//
// +kubebuilder:validation:Enum=Graceful;Immediate
type CancelMode string

// How a run is stopped.
const (
	// CancelGraceful stops the run's tasks and lets its finally tasks run.
	CancelGraceful CancelMode = "Graceful"
	// CancelImmediate stops everything.
	CancelImmediate CancelMode = "Immediate"
)

// CancelRequest asks to stop an execution.
type CancelRequest struct {
	// +required
	Mode CancelMode `json:"mode"`
	// Reason is why, for the audit trail.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
	// RequestedBy is who asked, stamped at admission.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	RequestedBy string `json:"requestedBy,omitempty"`
}

// Engine names the engine of the run that the status names, tekton or job; empty
// while that is not known. A status that an earlier version wrote says it of the
// workflow alone.
func (w *WorkflowExecution) Engine() string {
	switch st := &w.Status; {
	case st.PipelineRunRef != nil && st.PipelineRunRef.Engine != "":
		return st.PipelineRunRef.Engine
	case st.Workflow != nil:
		return st.Workflow.Engine
	}
	return ""
}

// CorrelationID joins the audit events of everything that belongs together.
func (w *WorkflowExecution) CorrelationID() string {
	if ref := w.Spec.RemediationRequestRef; ref != nil {
		return ref.Name
	}
	return string(w.UID)
}
