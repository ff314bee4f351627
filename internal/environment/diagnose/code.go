package diagnose

// Code names a kind of root cause. docs/diagnosis.md has the table of them.
type Code string

// The codes, by what they are about.
const (
	// Images.
	ImageAbsent       Code = "ImageAbsent"
	ImageNoLogin      Code = "ImageNoLogin"
	ImageWrongLogin   Code = "ImageWrongLogin"
	ImageArchitecture Code = "ImageArchitecture"
	ImageInvalid      Code = "ImageInvalid"
	ImagePullFailed   Code = "ImagePullFailed"
	RegistryDown      Code = "RegistryDown"
	RegistryUnknown   Code = "RegistryUnknown"

	// Certificates.
	AuthorityUnknown     Code = "AuthorityUnknown"
	CertificateExpired   Code = "CertificateExpired"
	CertificateOtherName Code = "CertificateOtherName"

	// Containers.
	ScaledToZero   Code = "ScaledToZero"
	ContainerCrash Code = "ContainerCrash"
	ContainerStart Code = "ContainerStart"
	OutOfMemory    Code = "OutOfMemory"
	LivenessKills  Code = "LivenessKills"
	ProbePort      Code = "ProbePort"
	ProbePath      Code = "ProbePath"
	ProbeTimeout   Code = "ProbeTimeout"
	PortInUse      Code = "PortInUse"

	// What containers refer to.
	ReferenceMissing Code = "ReferenceMissing"
	KeyMissing       Code = "KeyMissing"
	NameUnknown      Code = "NameUnknown"
	MountFailed      Code = "MountFailed"

	// Databases.
	DatabaseNotOnTCP Code = "DatabaseNotOnTCP"
	WrongPassword    Code = "WrongPassword"
	SQLFailed        Code = "SQLFailed"
	MigrationFailed  Code = "MigrationFailed"

	// The network.
	ServiceSelectsNothing Code = "ServiceSelectsNothing"
	ServicePort           Code = "ServicePort"
	HostUnknown           Code = "HostUnknown"
	PeerRefuses           Code = "PeerRefuses"

	// Room.
	UnschedulableRoom     Code = "UnschedulableRoom"
	UnschedulableTaint    Code = "UnschedulableTaint"
	UnschedulableSelector Code = "UnschedulableSelector"
	Unschedulable         Code = "Unschedulable"
	QuotaExceeded         Code = "QuotaExceeded"
	ClaimUnbound          Code = "ClaimUnbound"
	DiskFull              Code = "DiskFull"

	// The cluster.
	WebhookUnreachable Code = "WebhookUnreachable"
	AdmissionRefused   Code = "AdmissionRefused"
	DefinitionRefused  Code = "DefinitionRefused"
	NamespaceStuck     Code = "NamespaceStuck"
	NodeNotReady       Code = "NodeNotReady"
	ServerGone         Code = "ServerGone"
	BundleAbsent       Code = "BundleAbsent"
	BundleUnauthorized Code = "BundleUnauthorized"
	BundleUnresolved   Code = "BundleUnresolved"
	StepFailed         Code = "StepFailed"
)
