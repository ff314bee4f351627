package execution

import (
	"fmt"
	"strings"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Failure is what went wrong with a run.
type Failure struct {
	Reason    v1alpha1.FailureReason
	Message   string // what the engine said
	TaskIndex int32  // in the pipeline, from 0; -1 when it was no task
	Task      string
	Step      string
	ExitCode  *int32
}

// cause is one named way for a run to fail.
type cause struct {
	name  string
	match func(Run, *v1alpha1.Waiting) (Failure, bool)
}

// causes lists the ways for a run to fail; the first that matches is the class.
var causes = []cause{
	{"stopped-by-us", stoppedByUs},
	{"part-lost", lostPart},
	{"timed-out-while-waiting", timedOutWaiting},
	{"run-refused", runRefused},
	{"task-failed", taskFailed},
	{"timed-out", timedOut},
	{"cancelled-outside", cancelledOutside},
}

// Classify says why a finished run did not succeed. waited is what the execution
// was last known to wait for: an engine that gives up forgets what it waited for.
func Classify(r Run, waited *v1alpha1.Waiting) Failure {
	for _, c := range causes {
		if f, ok := c.match(r, waited); ok {
			return f
		}
	}
	return Failure{Reason: v1alpha1.FailureUnknown, Message: said(r.Reason, r.Message), TaskIndex: -1}
}

func said(reason, message string) string {
	if message == "" {
		return reason
	}
	return reason + ": " + message
}

// stoppedByUs: the run carries the reason for which we stopped it. When it was
// stopped because of what it waited for, that is what is told.
func stoppedByUs(r Run, waited *v1alpha1.Waiting) (Failure, bool) {
	f := Failure{Reason: r.StopReason, Message: said(r.Reason, r.Message), TaskIndex: -1}
	if waited != nil && waited.Reason == string(r.StopReason) {
		f.Message = waited.Message
		if task, ok := onlyFailed(r); ok {
			f.Task, f.TaskIndex = task.Name, task.Index
		}
	}
	return f, r.StopReason != "" && r.Cancelled
}

func lostPart(r Run, _ *v1alpha1.Waiting) (Failure, bool) {
	if r.LostChild == "" {
		return Failure{}, false
	}
	f := Failure{Reason: r.LostReason, TaskIndex: -1,
		Message: fmt.Sprintf("%s vanished while its code ran (%s)", r.LostChild, said(r.Reason, r.Message))}
	if task, ok := firstFailed(r); ok {
		f.Task, f.TaskIndex = task.Name, task.Index
	}
	return f, true
}

// timedOutWaiting: the time was spent waiting for something that has a class of
// its own.
func timedOutWaiting(r Run, waited *v1alpha1.Waiting) (Failure, bool) {
	if !r.TimedOut || r.CodeStarted {
		return Failure{}, false
	}
	f := Failure{Reason: v1alpha1.FailureDeadlineExceeded, TaskIndex: -1}
	hold := r.Hold
	if hold == nil && waited != nil {
		hold = &Hold{Reason: v1alpha1.FailureReason(waited.Reason), Message: waited.Message}
	}
	if hold == nil || !holdIsFailure[hold.Reason] {
		return Failure{}, false
	}
	f.Reason, f.Message = hold.Reason, fmt.Sprintf("the timeout passed while the run waited: %s", hold.Message)
	if task, ok := firstFailed(r); ok {
		f.Task, f.TaskIndex = task.Name, task.Index
	}
	return f, true
}

var holdIsFailure = map[v1alpha1.FailureReason]bool{
	v1alpha1.FailureResourceExhausted:  true,
	v1alpha1.FailureImagePullBackOff:   true,
	v1alpha1.FailureConfigurationError: true,
	v1alpha1.FailureForbidden:          true,
}

// runReasons are those that an engine gives to a run as a whole.
var runReasons = map[string]v1alpha1.FailureReason{
	"CouldntGetPipeline":              v1alpha1.FailureBundleResolutionFailed,
	"CouldntGetTask":                  v1alpha1.FailureBundleResolutionFailed,
	"ResourceVerificationFailed":      v1alpha1.FailureBundleResolutionFailed,
	"ParameterMissing":                v1alpha1.FailureConfigurationError,
	"ParameterTypeMismatch":           v1alpha1.FailureConfigurationError,
	"ObjectParameterMissKeys":         v1alpha1.FailureConfigurationError,
	"ParamArrayIndexingInvalid":       v1alpha1.FailureConfigurationError,
	"InvalidParamValue":               v1alpha1.FailureConfigurationError,
	"InvalidMatrixParameterTypes":     v1alpha1.FailureConfigurationError,
	"InvalidWorkspaceBindings":        v1alpha1.FailureConfigurationError,
	"RequiredWorkspaceMarkedOptional": v1alpha1.FailureConfigurationError,
	"InvalidTaskRunSpecs":             v1alpha1.FailureConfigurationError,
	"InvalidTaskResultReference":      v1alpha1.FailureConfigurationError,
	"InvalidPipelineResultReference":  v1alpha1.FailureConfigurationError,
	"PipelineValidationFailed":        v1alpha1.FailureConfigurationError,
	"PipelineInvalidGraph":            v1alpha1.FailureConfigurationError,
	"CELEvaluationFailed":             v1alpha1.FailureConfigurationError,
}

// bundleTexts are the only texts that are searched: the resolver gives one reason
// for every way in which a bundle cannot be had.
var bundleTexts = []struct{ text, means string }{
	{"MANIFEST_UNKNOWN", "the registry has no such bundle"},
	{"NAME_UNKNOWN", "the registry has no such bundle"},
	{"could not find object in image", "the bundle holds no Pipeline named workflow"},
	{"UNAUTHORIZED", "the registry refuses the credentials of the run, or the pull secret does not exist"},
	{"DENIED", "the registry refuses the credentials of the run"},
	{"x509:", "the registry's certificate is not trusted by Tekton's resolvers"},
	{"connection refused", "the registry cannot be reached"},
	{"no such host", "the registry's name is unknown"},
	{"server misbehaving", "the registry's name cannot be looked up"},
	{"i/o timeout", "the registry does not answer"},
}

func runRefused(r Run, _ *v1alpha1.Waiting) (Failure, bool) {
	reason, ok := runReasons[r.Reason]
	if !ok {
		return Failure{}, false
	}
	f := Failure{Reason: reason, Message: said(r.Reason, r.Message), TaskIndex: -1}
	if reason != v1alpha1.FailureBundleResolutionFailed {
		return f, true
	}
	for _, b := range bundleTexts {
		if strings.Contains(r.Message, b.text) {
			f.Message = b.means + " (" + f.Message + ")"
			break
		}
	}
	return f, true
}

// taskReasons are those that an engine gives to one task.
var taskReasons = map[string]v1alpha1.FailureReason{
	"StepOOM":                    v1alpha1.FailureOOMKilled,
	"SidecarOOM":                 v1alpha1.FailureOOMKilled,
	"InitContainerOOM":           v1alpha1.FailureOOMKilled,
	"TaskRunImagePullFailed":     v1alpha1.FailureImagePullBackOff,
	"PullImageFailed":            v1alpha1.FailureImagePullBackOff,
	"TaskRunTimeout":             v1alpha1.FailureDeadlineExceeded,
	"PodEvicted":                 v1alpha1.FailureEvicted,
	"ExceededResourceQuota":      v1alpha1.FailureResourceExhausted,
	"ExceededNodeResources":      v1alpha1.FailureResourceExhausted,
	"PodAdmissionFailed":         v1alpha1.FailureConfigurationError,
	"PodCreationFailed":          v1alpha1.FailureConfigurationError,
	"CreateContainerConfigError": v1alpha1.FailureConfigurationError,
	"InvalidParamValue":          v1alpha1.FailureConfigurationError,
	"TaskRunValidationFailed":    v1alpha1.FailureConfigurationError,
	"TaskValidationFailed":       v1alpha1.FailureConfigurationError,
	"TaskRunResolutionFailed":    v1alpha1.FailureBundleResolutionFailed,
	"ResourceVerificationFailed": v1alpha1.FailureBundleResolutionFailed,
	"StepFailed":                 v1alpha1.FailureTaskFailed,
	"Failed":                     v1alpha1.FailureTaskFailed,
	"SidecarFailed":              v1alpha1.FailureTaskFailed,
	"InitContainerFailed":        v1alpha1.FailureTaskFailed,
	// What the kubelet says of a container or a pod that an engine hands on as it is.
	"Error":              v1alpha1.FailureTaskFailed,
	"OOMKilled":          v1alpha1.FailureOOMKilled,
	"StartError":         v1alpha1.FailureConfigurationError,
	"ContainerCannotRun": v1alpha1.FailureConfigurationError,
	"Evicted":            v1alpha1.FailureEvicted,
	"Preempting":         v1alpha1.FailureEvicted,
	"NodeLost":           v1alpha1.FailureEvicted,
	"NodeShutdown":       v1alpha1.FailureEvicted,
	"Terminated":         v1alpha1.FailureEvicted,
}

// sigkill is the exit code of a process that was killed. The kernel does so when
// memory runs out; not every runtime then says OOMKilled.
const sigkill = 137

func taskFailed(r Run, _ *v1alpha1.Waiting) (Failure, bool) {
	task, ok := firstFailed(r)
	if !ok {
		return Failure{}, false
	}
	reason, known := taskReasons[task.Reason]
	if !known {
		return Failure{}, false
	}
	f := Failure{Reason: reason, Message: said(task.Reason, task.Message), Task: task.Name, TaskIndex: task.Index}
	step, ok := failedStep(task)
	if !ok || !r.CodeStarted {
		return f, true
	}
	f.Step, f.ExitCode = step.Name, &step.ExitCode
	if reason == v1alpha1.FailureTaskFailed && (step.Reason == "OOMKilled" || step.ExitCode == sigkill) {
		f.Reason = v1alpha1.FailureOOMKilled
	}
	return f, true
}

// firstFailed is the failed task that comes first in the pipeline and has a cause
// of its own: others are cancelled because of it.
func firstFailed(r Run) (Task, bool) {
	var found Task
	var ok bool
	for _, t := range r.Tasks {
		if !t.Failed {
			continue
		}
		_, own := taskReasons[t.Reason]
		_, foundOwn := taskReasons[found.Reason]
		if !ok || own && !foundOwn || own == foundOwn && t.Index < found.Index {
			found, ok = t, true
		}
	}
	return found, ok
}

// onlyFailed is the task that was stopped with its run, when it was one alone: of
// several nobody knows which was waited for.
func onlyFailed(r Run) (found Task, ok bool) {
	for _, t := range r.Tasks {
		if t.Failed && ok {
			return Task{}, false
		}
		if t.Failed {
			found, ok = t, true
		}
	}
	return found, ok
}

// failedStep is the first step of a task that ended badly.
func failedStep(t Task) (Step, bool) {
	for _, s := range t.Steps {
		if s.Created && s.Terminated && (s.ExitCode != 0 || s.Reason == "OOMKilled") {
			return s, true
		}
	}
	return Step{}, false
}

func timedOut(r Run, _ *v1alpha1.Waiting) (Failure, bool) {
	if !r.TimedOut {
		return Failure{}, false
	}
	f := Failure{Reason: v1alpha1.FailureDeadlineExceeded, Message: said(r.Reason, r.Message), TaskIndex: -1}
	if task, ok := firstFailed(r); ok {
		f.Task, f.TaskIndex = task.Name, task.Index
	}
	return f, true
}

func cancelledOutside(r Run, _ *v1alpha1.Waiting) (Failure, bool) {
	return Failure{
		Reason: v1alpha1.FailureCancelled, TaskIndex: -1,
		Message: "the run was cancelled from outside: " + said(r.Reason, r.Message),
	}, r.Cancelled
}
