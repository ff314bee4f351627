package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// RemediationTarget is the record of one target: who holds it, and what its past
// says about the next run. It outlives the executions it tells of.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rt,categories=kubernaut
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.target`
// +kubebuilder:printcolumn:name="Holder",type=string,JSONPath=`.status.holder.name`
// +kubebuilder:printcolumn:name="Held",type=date,JSONPath=`.status.holder.since`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.message`
// +kubebuilder:printcolumn:name="Run",type=string,priority=1,JSONPath=`.status.holder.runName`
// +kubebuilder:printcolumn:name="Token",type=integer,priority=1,JSONPath=`.status.fencingToken`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RemediationTarget struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// +required
	Spec RemediationTargetSpec `json:"spec"`
	// +optional
	Status RemediationTargetStatus `json:"status,omitzero"`
}

// RemediationTargetList is a list of RemediationTargets.
//
// +kubebuilder:object:root=true
type RemediationTargetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []RemediationTarget `json:"items"`
}

// RemediationTargetSpec names a target, and carries the wish to clear a block.
type RemediationTargetSpec struct {
	// Target is the canonical key: kind in lower-case singular, with its group
	// when not core, for example payment/deployment.apps/payment-api.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a record belongs to one target for ever"
	Target string `json:"target"`

	// ClearBlock asks to let the next run of a blocked workflow through.
	// +optional
	ClearBlock *ClearBlock `json:"clearBlock,omitempty"`
}

// ClearBlock clears one block, if it still stands.
type ClearBlock struct {
	// Workflow is the id of the blocked workflow.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Workflow string `json:"workflow"`
	// BlockID is the id of the block; another block is left standing.
	// +required
	BlockID types.UID `json:"blockId"`
	// Reason is why it may run again, for the audit trail.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
	// ClearedBy is who cleared it, stamped at admission.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	ClearedBy string `json:"clearedBy,omitempty"`
}

// RemediationTargetStatus is written by the controller alone, always with the
// resourceVersion it has read.
type RemediationTargetStatus struct {
	// Holder is the execution that may change the target now.
	// +optional
	Holder *Holder `json:"holder,omitempty"`

	// FencingToken grows with every taking of the target. It starts at the Unix
	// time in microseconds, so that it also grows over the deletion of a record.
	// +optional
	FencingToken int64 `json:"fencingToken,omitempty"`

	// Workflows is what the past says, per workflow, versions together.
	// +optional
	// +listType=map
	// +listMapKey=workflowId
	Workflows []WorkflowHistory `json:"workflows,omitempty"`

	// LastCleared is the last block that was cleared.
	// +optional
	LastCleared *ClearedBlock `json:"lastCleared,omitempty"`

	// Message says in a line who holds the target and what is blocked until when.
	// +optional
	Message string `json:"message,omitempty"`
}

// Holder is the execution that may change a target.
type Holder struct {
	// UID of the execution: the identity of the holder.
	UID types.UID `json:"uid"`
	// Namespace and Name of the execution.
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// WorkflowID and Version of what it runs.
	WorkflowID string `json:"workflowId"`
	// +optional
	Version string `json:"version,omitempty"`
	// CorrelationID of its audit trail.
	// +optional
	CorrelationID string `json:"correlationId,omitempty"`
	// Engine and RunName find the run, also when the execution is gone.
	Engine  string `json:"engine"`
	RunName string `json:"runName"`
	// Since is when the target was taken.
	Since metav1.MicroTime `json:"since"`
}

// WorkflowHistory is what the past of one workflow on one target says about its
// next run there.
type WorkflowHistory struct {
	WorkflowID string `json:"workflowId"`

	// LastOutcome is how its last run ended.
	// +optional
	LastOutcome *Outcome `json:"lastOutcome,omitempty"`

	// CooldownUntil is until when a target that was just remediated is left alone.
	// +optional
	CooldownUntil *metav1.Time `json:"cooldownUntil,omitempty"`

	// PreExecutionFailures counts the runs in a row that failed before any code of
	// the workflow had started.
	// +optional
	PreExecutionFailures int32 `json:"preExecutionFailures,omitempty"`

	// NextAllowedTime is when the next try after such a failure is let through.
	// +optional
	NextAllowedTime *metav1.Time `json:"nextAllowedTime,omitempty"`

	// Block keeps the workflow off the target until somebody clears it.
	// +optional
	Block *Block `json:"block,omitempty"`
}

// Outcome is how a run ended.
type Outcome struct {
	// Execution is its UID, Name is its namespace/name.
	Execution types.UID `json:"execution"`
	Name      string    `json:"name"`
	// Phase is Completed, Failed or Cancelled.
	Phase Phase `json:"phase"`
	// Reason is the class of the failure; empty when it completed.
	// +optional
	Reason FailureReason `json:"reason,omitempty"`
	// At is when it ended.
	At metav1.Time `json:"at"`
}

// Block keeps a workflow off a target until somebody clears it.
type Block struct {
	// ID is the UID of the execution that caused the block.
	ID types.UID `json:"id"`
	// Name is that execution's namespace/name.
	Name string `json:"name"`
	// Reason is PreviousExecutionFailed or ExhaustedRetries.
	Reason SkipReason `json:"reason"`
	// Failure is the class of the failure that caused it.
	Failure FailureReason `json:"failure"`
	Since   metav1.Time   `json:"since"`
	// CorrelationID of that execution's audit trail; the clearing belongs to it.
	// +optional
	CorrelationID string `json:"correlationId,omitempty"`
}

// ClearedBlock tells of a block that was cleared.
type ClearedBlock struct {
	Workflow  string      `json:"workflow"`
	BlockID   types.UID   `json:"blockId"`
	Reason    string      `json:"reason"`
	ClearedBy string      `json:"clearedBy"`
	At        metav1.Time `json:"at"`
	// CorrelationID of the audit trail of the execution that caused the block.
	// +optional
	CorrelationID string `json:"correlationId,omitempty"`
	// Recorded is whether the audit trail has acknowledged it.
	Recorded bool `json:"recorded"`
}
