package v1alpha1

// The namespaces of an installation. Executions live in the namespaces of their
// users; everything else lives in these two.
const (
	// SystemNamespace holds the controller, Data Storage, PostgreSQL, Redis, the
	// registry and the records of targets.
	SystemNamespace = "kubernaut-system"
	// WorkflowNamespace holds the runs and what they mount.
	WorkflowNamespace = "kubernaut-workflows"
)

const (
	// DefaultServiceAccount runs the workflows whose catalog entry names no other.
	DefaultServiceAccount = "kubernaut-workflow-runner"
	// DefaultPullSecret is the registry credential of a run, in WorkflowNamespace.
	DefaultPullSecret = "registry-pull"
	// PipelineName is the name every bundle gives its Pipeline.
	PipelineName = "workflow"
	// TargetParameter is the parameter that tells every workflow its target.
	TargetParameter = "TARGET_RESOURCE"
)

// What an installation offers in SystemNamespace, by the names in the cluster.
const (
	// DataStorageURL is where Data Storage answers.
	DataStorageURL = "https://datastorage." + SystemNamespace + ".svc:8443"
	// RegistryHost is the private registry, as image references name it.
	RegistryHost = "registry." + SystemNamespace + ".svc:5000"
	// AnnotationRegistry, on DefaultPullSecret, names another registry that the
	// installation uses: host, or host/path.
	AnnotationRegistry = "kubernaut.ai/registry"
	// DataStorageTLS and RegistryTLS are the Secrets with the certificates of both.
	DataStorageTLS = "datastorage-tls"
	RegistryTLS    = "registry-tls"
	// PublicCA is the ConfigMap with the authorities of both, for everybody to read.
	PublicCA = "kubernaut-ca"
	// CAKey is the entry of those objects that holds the authority's certificate.
	CAKey = "ca.crt"
	// CommandLineAccount is the service account whose tokens the command line uses
	// where a kubeconfig has none.
	CommandLineAccount = "kubernaut-cli"
)

// Finalizers.
const (
	// ExecutionFinalizer keeps a WorkflowExecution until its run has stopped, its
	// target is free and its audit trail is acknowledged.
	ExecutionFinalizer = "kubernaut.ai/execution"
	// RunFinalizer keeps a run, and with it the run's name, until its outcome is
	// recorded.
	RunFinalizer = "kubernaut.ai/run"
	// TargetFinalizer keeps the record of a target while it says something: a
	// holder, a block, a count, a cooldown.
	TargetFinalizer = "kubernaut.ai/target"
)

// Labels on a run. Their values are always valid label values: a hash or a cut
// of what they stand for. The annotations of the same meaning are exact.
const (
	// LabelExecutionUID is the UID of the execution a run belongs to.
	LabelExecutionUID = "kubernaut.ai/execution-uid"
	// LabelTarget is the name of the RemediationTarget a run works under.
	LabelTarget = "kubernaut.ai/target"
	// LabelWorkflow is a readable cut of the workflow's id.
	LabelWorkflow = "kubernaut.ai/workflow"
	// LabelSettled, on an execution, says that it has ended and owes nothing any
	// more; its value is the phase in which it ended. The controller sets it in the
	// write that takes its finalizer off, and watches no execution that has it.
	LabelSettled = "kubernaut.ai/settled"
	// LabelOutbox, on a ConfigMap in SystemNamespace, says that it keeps the audit
	// events of a deleted execution until they are sent.
	LabelOutbox = "kubernaut.ai/audit-outbox"
	// LabelForWorkflows, "true" on a ServiceAccount, Secret or ConfigMap in
	// WorkflowNamespace, allows catalog entries to name it.
	LabelForWorkflows = "kubernaut.ai/for-workflows"
)

// AnnotationCompletedAt is when a settled execution ended, beside LabelSettled, so
// that retention reads no more of an object than its metadata.
const AnnotationCompletedAt = "kubernaut.ai/completed-at"

// Annotations on a run: the exact values.
const (
	// AnnotationExecution is "namespace/name" of the execution.
	AnnotationExecution = "kubernaut.ai/execution"
	// AnnotationTarget is the canonical key of the target.
	AnnotationTarget = "kubernaut.ai/target"
	// AnnotationWorkflow is "id@version" of the workflow.
	AnnotationWorkflow = "kubernaut.ai/workflow"
	// AnnotationCorrelationID is the correlation id of the audit trail.
	AnnotationCorrelationID = "kubernaut.ai/correlation-id"
	// AnnotationFencingToken is the token under which the target was held when
	// the run was created.
	AnnotationFencingToken = "kubernaut.ai/fencing-token"
)
