package diagnose

import (
	"regexp"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// crashes is how many times in a row a container must have ended before its end
// counts as hopeless: once may be a race with something that starts beside it.
const crashes = 3

// The kubelet starts a container that ended once at once, waits 10 s after the
// second end and twice as long after each further one, and begins anew with one
// that ran for longer than forgotten.
const (
	firstBackOff = 10 * time.Second
	forgotten    = 10 * time.Minute
)

var backOffText = regexp.MustCompile(`back-off (\S+)`)

// inARow is how many times the container is known to have ended by itself, each
// time soon after its start. The count of its restarts says nothing of that: it
// is of all its life, and has those with its node in it.
func (c container) inARow() int {
	t, ended := c.ended()
	if !ended || c.status.State.Running != nil {
		return 0
	}
	if c.status.State.Terminated == nil {
		return c.backedOff()
	}
	before := c.status.LastTerminationState.Terminated
	switch {
	case before == nil || lost(before) || t.FinishedAt.Sub(t.StartedAt.Time) > forgotten:
		return 1
	case t.StartedAt.Sub(before.FinishedAt.Time) < firstBackOff:
		return 2
	}
	return min(crashes, int(c.status.RestartCount)+1)
}

// backedOff reads the row from how long the kubelet waits before the next start.
// The first pause follows the first end too when the one before it was the node's.
func (c container) backedOff() int {
	w := c.status.State.Waiting
	if w == nil || w.Reason != "CrashLoopBackOff" {
		return 1
	}
	m := backOffText.FindStringSubmatch(w.Message)
	if m == nil {
		return 1
	}
	if pause, err := time.ParseDuration(m[1]); err != nil || pause <= firstBackOff {
		return 1
	}
	return crashes
}

// again tells whether the container ended so often that it will not run.
func (c container) again() bool {
	return c.inARow() >= crashes || c.pod.Spec.RestartPolicy == corev1.RestartPolicyNever && c.status.State.Terminated != nil
}

// lost tells whether nobody knows how a container ended, because the node ended
// with it.
func lost(t *corev1.ContainerStateTerminated) bool {
	return t.Reason == "Unknown" || t.Reason == "ContainerStatusUnknown"
}

// repeats tells whether an event happened that often, each time soon after the
// time before, and lately.
func (v *view) repeats(h happening, times int) bool {
	return h.count >= times && h.last.Sub(h.first) <= time.Duration(h.count)*forgotten && v.Taken.Sub(h.last) <= forgotten
}

// nth is about when an event happened for the nth time.
func (h happening) nth(n int) time.Time {
	if h.count <= 1 {
		return h.first
	}
	return h.first.Add(h.last.Sub(h.first) * time.Duration(min(n, h.count)-1) / time.Duration(h.count-1))
}
