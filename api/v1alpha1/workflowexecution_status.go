package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Phase is a summary of the conditions for people.
//
// +kubebuilder:validation:Enum=Pending;Running;Completed;Failed;Skipped;Cancelled
type Phase string

// The phases of an execution. The last four are final.
const (
	PhasePending   Phase = "Pending"
	PhaseRunning   Phase = "Running"
	PhaseCompleted Phase = "Completed"
	PhaseFailed    Phase = "Failed"
	PhaseSkipped   Phase = "Skipped"
	PhaseCancelled Phase = "Cancelled"
)

// The conditions of an execution.
const (
	// ConditionTargetLocked: this execution holds its target.
	ConditionTargetLocked = "TargetLocked"
	// ConditionPipelineCreated: the run exists, or existed.
	ConditionPipelineCreated = "PipelineCreated"
	// ConditionPipelineRunning: the run is being worked on.
	ConditionPipelineRunning = "PipelineRunning"
	// ConditionSucceeded: True or False is the end; its reason says which.
	ConditionSucceeded = "Succeeded"
	// ConditionAuditRecorded: every event so far is acknowledged by Data Storage.
	ConditionAuditRecorded = "AuditRecorded"
)

// Reasons of conditions and of waits that are neither a FailureReason nor a
// SkipReason. Ending announces that an execution is about to end without having
// held its target; it may still be taken back.
const (
	ReasonLocked         = "Locked"
	ReasonReleased       = "Released"
	ReasonWaiting        = "Waiting"
	ReasonPaused         = "Paused"
	ReasonLimitReached   = "LimitReached"
	ReasonCreated        = "Created"
	ReasonRunning        = "Running"
	ReasonStopping       = "Stopping"
	ReasonStopped        = "Stopped"
	ReasonEnding         = "Ending"
	ReasonEngineAbsent   = "EngineAbsent"
	ReasonCompleted      = "Completed"
	ReasonAcknowledged   = "Acknowledged"
	ReasonPending        = "Pending"
	ReasonUnavailable    = "Unavailable"
	ReasonRefused        = "Refused"
	ReasonConflictingIDs = "Conflict"
)

// WorkflowExecutionStatus tells what became of an execution. Only the controller
// writes it.
type WorkflowExecutionStatus struct {
	// Phase summarises the conditions.
	// +optional
	Phase Phase `json:"phase,omitempty"`

	// ObservedGeneration is the generation of the spec this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// StartTime is when the run was created.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// CompletionTime is when the execution ended, however it ended.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// Duration is the time from StartTime to CompletionTime.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`

	// Workflow is what the reference meant when the execution began. Later edits
	// of the catalog do not touch it.
	// +optional
	Workflow *ResolvedWorkflow `json:"workflow,omitempty"`

	// Target is what the target resource meant, and the hold on it.
	// +optional
	Target *ResolvedTarget `json:"target,omitempty"`

	// Waiting says for whom or what the execution waits; absent when it does not.
	// +optional
	Waiting *Waiting `json:"waiting,omitempty"`

	// PipelineRunRef names the run.
	// +optional
	PipelineRunRef *RunReference `json:"pipelineRunRef,omitempty"`

	// PipelineRunStatus is what the run last said of itself.
	// +optional
	PipelineRunStatus *RunStatus `json:"pipelineRunStatus,omitempty"`

	// UserCodeStarted is whether a container of the workflow was ever created, or
	// whether that cannot be excluded. It never goes back to false.
	// +optional
	UserCodeStarted bool `json:"userCodeStarted,omitempty"`

	// FailureDetails tells why the execution failed or was cancelled.
	// +optional
	FailureDetails *FailureDetails `json:"failureDetails,omitempty"`

	// SkipDetails tells why the execution was skipped.
	// +optional
	SkipDetails *SkipDetails `json:"skipDetails,omitempty"`

	// Cancel is the request to stop as it stood when the execution ended with it.
	// +optional
	Cancel *CancelRequest `json:"cancel,omitempty"`

	// Conditions tell where the execution stands.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ResolvedWorkflow is the snapshot of a workflow an execution runs.
type ResolvedWorkflow struct {
	// Image is the bundle as the run refers to it: image@digest, where the digest
	// is known beforehand.
	// +optional
	Image string `json:"image,omitempty"`
	// Digest of the bundle that ran, as the engine resolved it.
	// +optional
	Digest string `json:"digest,omitempty"`
	// Engine carries out the run: tekton or job.
	// +optional
	Engine string `json:"engine,omitempty"`
	// ServiceAccountName is the identity of the run.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// Registered is whether the catalog knows this workflow.
	Registered bool `json:"registered"`
	// Parameters are those the workflow declares.
	// +optional
	// +listType=map
	// +listMapKey=name
	Parameters []DeclaredParameter `json:"parameters,omitempty"`
	// Secrets are those the workflow may mount.
	// +optional
	Secrets []string `json:"secrets,omitempty"`
	// ConfigMaps are those the workflow may mount.
	// +optional
	ConfigMaps []string `json:"configMaps,omitempty"`
}

// DeclaredParameter is a parameter as the catalog declares it.
type DeclaredParameter struct {
	Name string `json:"name"`
	// Type is string (the default), integer, number or boolean.
	// +optional
	Type string `json:"type,omitempty"`
	// Required parameters without a default must be given.
	// +optional
	Required bool `json:"required,omitempty"`
	// Default is used when the parameter is not given. Absent for secrets.
	// +optional
	Default *string `json:"default,omitempty"`
	// Enum lists the allowed values; empty allows all.
	// +optional
	Enum []string `json:"enum,omitempty"`
	// Pattern is a regular expression the whole value must match.
	// +optional
	Pattern string `json:"pattern,omitempty"`
	// Minimum and Maximum bound an integer or a number.
	// +optional
	Minimum *float64 `json:"minimum,omitempty"`
	// +optional
	Maximum *float64 `json:"maximum,omitempty"`
	// Secret values appear nowhere but in the run.
	// +optional
	Secret bool `json:"secret,omitempty"`
}

// ResolvedTarget is the target of an execution, and its hold on it.
type ResolvedTarget struct {
	// Key is the canonical form of the target resource.
	Key string `json:"key"`
	// Record is the name of the RemediationTarget in kubernaut-system.
	Record string `json:"record"`
	// LockedAt is when this execution took the target.
	// +optional
	LockedAt *metav1.MicroTime `json:"lockedAt,omitempty"`
	// FencingToken is the target's token while this execution holds it.
	// +optional
	FencingToken int64 `json:"fencingToken,omitempty"`
}

// Waiting says what an execution waits for.
type Waiting struct {
	// Reason is a SkipReason, a FailureReason or another word for the cause.
	Reason string `json:"reason"`
	// Message is a sentence for people.
	Message string `json:"message"`
	// For names the execution or object that is waited for, as namespace/name.
	// +optional
	For string `json:"for,omitempty"`
	// Position is the place in the queue of the target, from 1.
	// +optional
	Position int32 `json:"position,omitempty"`
	// Since is when the wait for this reason began.
	Since metav1.Time `json:"since"`
	// Until is when the wait ends at the latest, or when it is known to end.
	// +optional
	Until *metav1.Time `json:"until,omitempty"`
}

// RunReference names the run of an execution.
type RunReference struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	// +optional
	UID types.UID `json:"uid,omitempty"`
	// Engine is what carries it out: tekton or job.
	// +optional
	Engine string `json:"engine,omitempty"`
}

// RunStatus is what a run last said of itself.
type RunStatus struct {
	// Status is Unknown while the run is on, then True or False.
	Status metav1.ConditionStatus `json:"status"`
	// +optional
	Reason string `json:"reason,omitempty"`
	// +optional
	Message string `json:"message,omitempty"`
	// +optional
	CompletedTasks int32 `json:"completedTasks,omitempty"`
	// +optional
	TotalTasks int32 `json:"totalTasks,omitempty"`
}

// FailureReason is the class of a failure.
//
// +kubebuilder:validation:Enum=OOMKilled;DeadlineExceeded;Forbidden;ResourceExhausted;ConfigurationError;ImagePullBackOff;BundleResolutionFailed;TaskFailed;Evicted;ExternallyDeleted;HolderLost;CatalogUnavailable;AuditUnavailable;Cancelled;Unknown
type FailureReason string

// The classes of failures.
const (
	FailureOOMKilled              FailureReason = "OOMKilled"
	FailureDeadlineExceeded       FailureReason = "DeadlineExceeded"
	FailureForbidden              FailureReason = "Forbidden"
	FailureResourceExhausted      FailureReason = "ResourceExhausted"
	FailureConfigurationError     FailureReason = "ConfigurationError"
	FailureImagePullBackOff       FailureReason = "ImagePullBackOff"
	FailureBundleResolutionFailed FailureReason = "BundleResolutionFailed"
	FailureTaskFailed             FailureReason = "TaskFailed"
	FailureEvicted                FailureReason = "Evicted"
	FailureExternallyDeleted      FailureReason = "ExternallyDeleted"
	FailureHolderLost             FailureReason = "HolderLost"
	FailureCatalogUnavailable     FailureReason = "CatalogUnavailable"
	FailureAuditUnavailable       FailureReason = "AuditUnavailable"
	FailureCancelled              FailureReason = "Cancelled"
	FailureUnknown                FailureReason = "Unknown"
)

// FailureDetails tells why an execution failed.
type FailureDetails struct {
	// FailedTaskIndex is the place of the failed task in the pipeline, from 0;
	// -1 when no task failed.
	FailedTaskIndex int32 `json:"failedTaskIndex"`
	// FailedTaskName is the name of the failed task in the pipeline.
	// +optional
	FailedTaskName string `json:"failedTaskName,omitempty"`
	// FailedStepName is the name of the failed step.
	// +optional
	FailedStepName string `json:"failedStepName,omitempty"`
	// Reason is the class of the failure.
	Reason FailureReason `json:"reason"`
	// Message is what the engine or the API server said.
	Message string `json:"message"`
	// ExitCode is that of the failed step, when it ran.
	// +optional
	ExitCode *int32 `json:"exitCode,omitempty"`
	// FailedAt is when it failed.
	FailedAt metav1.Time `json:"failedAt"`
	// ExecutionTimeBeforeFailure is the time from the run's creation to FailedAt.
	// +optional
	ExecutionTimeBeforeFailure *metav1.Duration `json:"executionTimeBeforeFailure,omitempty"`
	// NaturalLanguageSummary is one sentence for people: what failed, and what to
	// do next.
	NaturalLanguageSummary string `json:"naturalLanguageSummary"`
	// WasExecutionFailure is whether code of the workflow had started, or that
	// could not be excluded: something may have been changed.
	WasExecutionFailure bool `json:"wasExecutionFailure"`
	// RetrySafe is whether running the workflow again cannot do anything twice.
	RetrySafe bool `json:"retrySafe"`
	// Evidence is the last lines of the failed step and the events of its pod, at
	// most 1 KiB, with secret values masked.
	// +optional
	Evidence []string `json:"evidence,omitempty"`
}

// SkipReason is why an execution did not run.
//
// +kubebuilder:validation:Enum=ResourceBusy;RecentlyRemediated;Backoff;ExhaustedRetries;PreviousExecutionFailed;Paused;LimitReached
type SkipReason string

// The reasons not to run.
const (
	SkipResourceBusy            SkipReason = "ResourceBusy"
	SkipRecentlyRemediated      SkipReason = "RecentlyRemediated"
	SkipBackoff                 SkipReason = "Backoff"
	SkipExhaustedRetries        SkipReason = "ExhaustedRetries"
	SkipPreviousExecutionFailed SkipReason = "PreviousExecutionFailed"
	SkipPaused                  SkipReason = ReasonPaused
	SkipLimitReached            SkipReason = ReasonLimitReached
)

// SkipDetails tells why an execution did not run.
type SkipDetails struct {
	Reason    SkipReason  `json:"reason"`
	Message   string      `json:"message"`
	SkippedAt metav1.Time `json:"skippedAt"`
	// ConflictingWorkflow is who holds the target, or whose failure blocks it.
	// +optional
	ConflictingWorkflow *ConflictingWorkflow `json:"conflictingWorkflow,omitempty"`
	// RecentRemediation is the run after which the target is left alone.
	// +optional
	RecentRemediation *RecentRemediation `json:"recentRemediation,omitempty"`
	// NextAllowedTime is when the same execution would be let through.
	// +optional
	NextAllowedTime *metav1.Time `json:"nextAllowedTime,omitempty"`
	// BlockID names the block to clear.
	// +optional
	BlockID types.UID `json:"blockId,omitempty"`
}

// ConflictingWorkflow is an execution that stands in the way of another.
type ConflictingWorkflow struct {
	// Name of the execution, as namespace/name.
	Name           string      `json:"name"`
	WorkflowID     string      `json:"workflowId"`
	StartedAt      metav1.Time `json:"startedAt"`
	TargetResource string      `json:"targetResource"`
}

// RecentRemediation is a run after which a target is left alone for a while.
type RecentRemediation struct {
	// Name of the execution, as namespace/name.
	Name              string          `json:"name"`
	WorkflowID        string          `json:"workflowId"`
	CompletedAt       metav1.Time     `json:"completedAt"`
	Outcome           string          `json:"outcome"`
	TargetResource    string          `json:"targetResource"`
	CooldownRemaining metav1.Duration `json:"cooldownRemaining"`
}

// Phases, FailureReasons and SkipReasons list every value there is.
var (
	Phases = []Phase{PhasePending, PhaseRunning, PhaseCompleted, PhaseFailed, PhaseSkipped, PhaseCancelled}

	FailureReasons = []FailureReason{
		FailureOOMKilled, FailureDeadlineExceeded, FailureForbidden, FailureResourceExhausted, FailureConfigurationError,
		FailureImagePullBackOff, FailureBundleResolutionFailed, FailureTaskFailed, FailureEvicted, FailureExternallyDeleted,
		FailureHolderLost, FailureCatalogUnavailable, FailureAuditUnavailable, FailureCancelled, FailureUnknown,
	}

	SkipReasons = []SkipReason{
		SkipResourceBusy, SkipRecentlyRemediated, SkipBackoff, SkipExhaustedRetries, SkipPreviousExecutionFailed,
		SkipPaused, SkipLimitReached,
	}
)
