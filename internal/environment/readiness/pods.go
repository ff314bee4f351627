package readiness

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// crashes is how many times a container must have ended before its restarts
// count as hopeless: once may be a race with something that starts beside it.
const crashes = 3

// hopeless says why the pod will certainly not become ready, or nothing.
func hopeless(pod *corev1.Pod) string {
	for _, c := range containers(pod) {
		waiting := c.State.Waiting
		if waiting == nil {
			continue
		}
		switch waiting.Reason {
		case "InvalidImageName", "ErrImageNeverPull", "ImagePullBackOff":
			return fmt.Sprintf("container %s of pod %s cannot have its image %s: %s", c.Name, pod.Name, c.Image, waiting.Message)
		case "CrashLoopBackOff":
			if c.RestartCount+1 >= crashes {
				return fmt.Sprintf("container %s of pod %s crashes again and again%s", c.Name, pod.Name, lastEnd(c))
			}
		}
	}
	return ""
}

// suspicious tells whether the pod's state may come from a reference to
// something that does not exist.
func suspicious(pod *corev1.Pod) bool {
	return slices.ContainsFunc(containers(pod), func(c corev1.ContainerStatus) bool {
		return c.State.Waiting != nil && c.State.Waiting.Reason == "CreateContainerConfigError"
	})
}

func containers(pod *corev1.Pod) []corev1.ContainerStatus {
	return append(slices.Clone(pod.Status.InitContainerStatuses), pod.Status.ContainerStatuses...)
}

func lastEnd(c corev1.ContainerStatus) string {
	t := c.LastTerminationState.Terminated
	if t == nil {
		return ""
	}
	text := fmt.Sprintf(" (exit code %d", t.ExitCode)
	if t.Reason != "" && t.Reason != "Error" {
		text += ", " + t.Reason
	}
	return text + fmt.Sprintf(", %d restarts)", c.RestartCount)
}

// podLine says where a pod stands, in one line.
func podLine(pod *corev1.Pod) string {
	line := "pod " + pod.Name + ": " + string(pod.Status.Phase)
	if pod.Status.Reason != "" {
		line += " (" + pod.Status.Reason + ")"
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			line += ", not scheduled: " + c.Message
		}
	}
	for _, c := range containers(pod) {
		if state := containerLine(c); state != "" {
			line += ", container " + c.Name + " " + state
		}
	}
	return line
}

// containerLine tells what keeps a container from being ready, or nothing.
func containerLine(c corev1.ContainerStatus) string {
	switch {
	case c.State.Waiting != nil:
		return strings.TrimSuffix("waits: "+c.State.Waiting.Reason+": "+c.State.Waiting.Message, ": ") + lastEnd(c)
	case c.State.Terminated != nil && c.State.Terminated.ExitCode != 0:
		return fmt.Sprintf("ended with exit code %d (%s)", c.State.Terminated.ExitCode, c.State.Terminated.Reason)
	case c.State.Running != nil && !c.Ready:
		return "runs, and is not ready" + lastEnd(c)
	default:
		return ""
	}
}

// failing picks the container whose log explains most, and whether it is the
// log of its previous life. found is false when no container ever ran.
func failing(pod *corev1.Pod) (name string, previous, found bool) {
	for _, c := range containers(pod) {
		switch {
		case c.State.Terminated != nil && c.State.Terminated.ExitCode != 0:
			return c.Name, false, true
		case c.State.Waiting != nil && c.LastTerminationState.Terminated != nil:
			return c.Name, true, true
		case c.State.Running != nil && !c.Ready:
			return c.Name, false, true
		}
	}
	return "", false, false
}
