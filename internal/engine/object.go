package engine

import (
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Annotations that an engine puts on a run.
const (
	// AnnotationStopReason is why we stopped the run.
	AnnotationStopReason = "kubernaut.ai/stop-reason"
	// AnnotationStopMode is how we stopped it, where the run cannot tell otherwise.
	AnnotationStopMode = "kubernaut.ai/stop-mode"
	// AnnotationOccupant: it was created only to take its name.
	AnnotationOccupant = "kubernaut.ai/occupant"
)

// ObjectMeta names a run: the same wish has the same name, labels that are always
// valid, and annotations that are exact.
func (s Spec) ObjectMeta() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:  v1alpha1.WorkflowNamespace,
		Name:       s.Name,
		Finalizers: []string{v1alpha1.RunFinalizer},
		Labels: map[string]string{
			v1alpha1.LabelExecutionUID: string(s.Execution),
			v1alpha1.LabelTarget:       labelValue(lastPart(s.Record)),
			v1alpha1.LabelWorkflow:     labelValue(s.WorkflowID),
		},
		Annotations: map[string]string{
			v1alpha1.AnnotationExecution:     s.ExecutionName,
			v1alpha1.AnnotationTarget:        s.Target,
			v1alpha1.AnnotationWorkflow:      s.WorkflowID + "@" + s.Version,
			v1alpha1.AnnotationCorrelationID: s.CorrelationID,
			v1alpha1.AnnotationFencingToken:  strconv.FormatInt(s.FencingToken, 10),
		},
	}
}

// lastPart is what follows the last dash: the hash in the name of a record.
func lastPart(name string) string { return name[strings.LastIndexByte(name, '-')+1:] }

// labelValue cuts text to what a label may be.
func labelValue(text string) string {
	valid := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '_'
	}, text)
	return strings.Trim(valid[:min(len(valid), 63)], "-_.")
}

// HasFinalizer says whether our finalizer is on an object.
func HasFinalizer(obj metav1.Object) bool {
	for _, f := range obj.GetFinalizers() {
		if f == v1alpha1.RunFinalizer {
			return true
		}
	}
	return false
}
