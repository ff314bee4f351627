// Package pod tells what the pod of a run says, whichever engine made it.
package pod

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/execution"
)

// Alive says whether anything in a pod may still act.
func Alive(pod *corev1.Pod) bool {
	return pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// Started says whether a container of a pod was created: then its image has an id.
func Started(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.ImageID != "" })
}

// Asked is when somebody asked for the deletion of a pod.
func Asked(pod *corev1.Pod) time.Time {
	if pod.DeletionTimestamp == nil {
		return time.Time{}
	}
	asked := pod.DeletionTimestamp.Time
	if grace := pod.DeletionGracePeriodSeconds; grace != nil {
		asked = asked.Add(-time.Duration(*grace) * time.Second)
	}
	return asked
}

// Removal is why somebody takes a pod away.
func Removal(pod *corev1.Pod) v1alpha1.FailureReason {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return v1alpha1.FailureEvicted
		}
	}
	if pod.Status.Reason == "Evicted" {
		return v1alpha1.FailureEvicted
	}
	return v1alpha1.FailureExternallyDeleted
}

// hopeless are the reasons of a waiting container that no more waiting cures: the
// kubelet has tried more than once, or will never.
var hopeless = map[string]bool{"ImagePullBackOff": true, "InvalidImageName": true, "CreateContainerConfigError": true}

// waiting are what the reason of a waiting container says it waits for.
var waiting = map[string]v1alpha1.FailureReason{
	"ImagePullBackOff":           v1alpha1.FailureImagePullBackOff,
	"ErrImagePull":               v1alpha1.FailureImagePullBackOff,
	"InvalidImageName":           v1alpha1.FailureImagePullBackOff,
	"CreateContainerConfigError": v1alpha1.FailureConfigurationError,
	"CreateContainerError":       v1alpha1.FailureConfigurationError,
}

// Hold says what a pod waits for, if it waits, as its status tells.
func Hold(pod *corev1.Pod) *execution.Hold {
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if c.State.Waiting == nil {
			continue
		}
		if reason, known := waiting[c.State.Waiting.Reason]; known {
			return &execution.Hold{
				Reason: reason, Hopeless: hopeless[c.State.Waiting.Reason],
				Message: strings.TrimSpace(c.State.Waiting.Reason + ": " + c.State.Waiting.Message),
			}
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return &execution.Hold{Reason: v1alpha1.FailureResourceExhausted, Message: "Unschedulable: " + c.Message}
		}
	}
	return nil
}

// IndexInvolved finds events by the UID of the object they are about. The API
// server knows this field, and a cache has to be told of it.
const IndexInvolved = "involvedObject.uid"

// Involved indexes events by the UID of the object they are about.
func Involved(obj client.Object) []string {
	if e, ok := obj.(*corev1.Event); ok {
		return []string{string(e.InvolvedObject.UID)}
	}
	return nil
}

// Warnings are what the cluster has warned of about an object, the newest last.
func Warnings(ctx context.Context, from client.Reader, about client.Object) ([]corev1.Event, error) {
	var all corev1.EventList
	err := from.List(ctx, &all, client.InNamespace(about.GetNamespace()), client.MatchingFields{IndexInvolved: string(about.GetUID())})
	if err != nil {
		return nil, fmt.Errorf("listing the events of %s: %w", about.GetName(), err)
	}
	warnings := slices.DeleteFunc(all.Items, func(e corev1.Event) bool { return e.Type != corev1.EventTypeWarning })
	slices.SortStableFunc(warnings, func(a, b corev1.Event) int { return at(a).Compare(at(b)) })
	return warnings, nil
}

// at is when an event was seen last.
func at(e corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	}
	return e.CreationTimestamp.Time
}

// warned are the reasons of events that tell what a run waits for where no status
// does.
var warned = map[string]bool{"FailedMount": true, "FailedCreate": true, "FailedCreatePodSandBox": true}

// texts tell such events apart. They are searched because the kubelet and the
// controllers of Kubernetes give one reason for every cause; testdata has what they
// really write.
var texts = []struct {
	text   string
	reason v1alpha1.FailureReason
}{
	{"exceeded quota", v1alpha1.FailureResourceExhausted},
	{"violates PodSecurity", v1alpha1.FailureConfigurationError},
	{"not found", v1alpha1.FailureConfigurationError}, // a Secret, a ConfigMap, a service account
	{"is forbidden", v1alpha1.FailureForbidden},
}

// HoldOf is what warnings say is waited for, by the newest that says anything.
func HoldOf(warnings []corev1.Event) *execution.Hold {
	for _, e := range slices.Backward(warnings) {
		if !warned[e.Reason] {
			continue
		}
		h := &execution.Hold{Reason: v1alpha1.FailureUnknown, Message: e.Reason + ": " + e.Message}
		for _, t := range texts {
			if strings.Contains(e.Message, t.text) {
				h.Reason = t.reason
				break
			}
		}
		return h
	}
	return nil
}
