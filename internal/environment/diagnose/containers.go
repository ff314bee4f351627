package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// containerRules look at one container; the first that finds something decides.
var containerRules = []func(container) (Finding, bool){
	imageProblem,
	otherArchitecture,
	cannotStart,
	outOfMemory,
	livenessKills,
	notOnTCP,
	said,
	crash,
	probeProblem,
}

// container is one container of a pod, with all that is known of it.
type container struct {
	view   *view
	pod    *corev1.Pod
	spec   corev1.Container
	status corev1.ContainerStatus
}

func containersOf(v *view, p *corev1.Pod) []container {
	specs := map[string]corev1.Container{}
	for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
		specs[c.Name] = c
	}
	var all []container
	for _, s := range statuses(p) {
		all = append(all, container{v, p, specs[s.Name], s})
	}
	return all
}

func (c container) name() string { return "container " + c.spec.Name + " of pod " + c.pod.Name }

func (c container) object() plan.Object { return podObject(c.pod) }

// found completes a finding about the container.
func (c container) found(f Finding) (Finding, bool) {
	f.Visible = since(f.Visible, c.pod)
	if f.Next == nil {
		f.Next = []string{kubectl(c.pod.Namespace, "describe pod "+c.pod.Name)}
	}
	return c.view.of(c.pod, f), true
}

// well tells whether there is nothing to look for.
func (c container) well() bool {
	t := c.status.State.Terminated
	return c.status.Ready || t != nil && t.ExitCode == 0
}

// ended is how the container ended last, and whether it did. One that was lost
// with its node did not end by itself: that is no evidence about its program.
func (c container) ended() (*corev1.ContainerStateTerminated, bool) {
	if t := c.status.State.Terminated; t != nil {
		return t, t.ExitCode != 0 && !lost(t)
	}
	t := c.status.LastTerminationState.Terminated
	return t, t != nil && !c.status.Ready && !lost(t)
}

// lines is what the container wrote last: in the life that ended when it has
// ended, else in the present one. What it wrote before it was lost says nothing.
func (c container) lines() []string {
	t, ended := c.ended()
	if t != nil && lost(t) && c.status.State.Running == nil {
		return nil
	}
	if ended && c.status.State.Terminated == nil {
		if lines := c.view.log(c.pod, c.spec.Name, true); len(lines) > 0 {
			return lines
		}
	}
	return c.view.log(c.pod, c.spec.Name, false)
}

// event is the newest of that reason about the container; other containers of
// the pod have theirs.
func (c container) event(reason, part string) (happening, bool) {
	return c.view.lastEvent(c.object(), func(h happening) bool {
		return c.meant(h) && h.reason == reason && strings.Contains(h.message, part)
	})
}

func (c container) meant(h happening) bool { return h.container == "" || h.container == c.spec.Name }

// state is the container's state as evidence.
func (c container) state() Evidence {
	return Evidence{From: "state of container " + c.spec.Name + " of Pod " + c.pod.Name, Text: containerLine(c.status)}
}

func (c container) logEvidence(lines []string) Evidence {
	return Evidence{From: fmt.Sprintf("log of container %s of Pod %s", c.spec.Name, c.pod.Name), Text: strings.Join(lines, "\n")}
}

// otherArchitecture is a program made for another processor.
func otherArchitecture(c container) (Finding, bool) {
	t, ended := c.ended()
	if !ended {
		return Finding{}, false
	}
	line := t.Message
	if !strings.Contains(line, "exec format error") {
		line = lineWith(c.lines(), "exec format error")
	}
	if line == "" {
		return Finding{}, false
	}
	return c.found(Finding{
		Code: ImageArchitecture, Hopeless: true, Visible: t.FinishedAt.Time,
		Sentence: fmt.Sprintf("the program of image %s is made for another architecture than that of node %s%s", c.status.Image, c.pod.Spec.NodeName, c.view.architecture(c.pod.Spec.NodeName)),
		Evidence: []Evidence{c.state(), {From: c.name(), Text: line}},
	})
}

func (v *view) architecture(node string) string {
	for _, n := range v.nodes {
		if n.Name == node && n.Status.NodeInfo.Architecture != "" {
			return " (" + n.Status.NodeInfo.Architecture + ")"
		}
	}
	return ""
}

func lineWith(lines []string, part string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.Contains(lines[i], part) {
			return lines[i]
		}
	}
	return ""
}

// cannotStart is a container whose process could not even be started.
func cannotStart(c container) (Finding, bool) {
	message := ""
	if w := c.status.State.Waiting; w != nil && (w.Reason == "CreateContainerError" || w.Reason == "RunContainerError") {
		message = w.Message
	}
	if t, ended := c.ended(); ended && (t.Reason == "StartError" || t.Reason == "ContainerCannotRun") {
		message = t.Message
	}
	if message == "" {
		return Finding{}, false
	}
	f := Finding{
		Code: ContainerStart, Hopeless: true,
		Sentence: fmt.Sprintf("container %s of %s cannot be started: %s", c.spec.Name, c.view.workload(c.pod), lastPart(message)),
		Evidence: []Evidence{c.state(), {From: c.name(), Text: message}},
	}
	if h, ok := c.event("Failed", ""); ok {
		f.Visible = h.first
	}
	return c.found(f)
}

// lastPart is the innermost cause of a chain of errors.
func lastPart(message string) string {
	if i := strings.LastIndex(message, "runtime create failed: "); i >= 0 {
		message = message[i+len("runtime create failed: "):]
	}
	return strings.TrimSpace(message)
}

func outOfMemory(c container) (Finding, bool) {
	t, ended := c.ended()
	if !ended || t.Reason != "OOMKilled" {
		return Finding{}, false
	}
	limit := "without a limit of its own: the node or its pod has no memory left"
	if m, ok := c.spec.Resources.Limits[corev1.ResourceMemory]; ok {
		limit = "its limit is " + m.String()
	}
	return c.found(Finding{
		Code: OutOfMemory, Hopeless: c.again() || c.inARow() >= 2, Visible: t.FinishedAt.Time,
		Sentence: fmt.Sprintf("container %s of %s is killed because it takes more memory than it may (%s; exit code %d)", c.spec.Name, c.view.workload(c.pod), limit, t.ExitCode),
		Evidence: []Evidence{c.state()},
		Next:     append([]string{kubectl(c.pod.Namespace, "describe pod "+c.pod.Name)}, c.moreMemory()...),
	})
}

// moreMemory is the command that doubles the limit, where there is one and it
// can be changed: that of a bare pod or of a Job cannot.
func (c container) moreMemory() []string {
	w := c.view.workload(c.pod)
	limit, ok := c.spec.Resources.Limits[corev1.ResourceMemory]
	if !ok || !slices.Contains([]string{"Deployment", "StatefulSet", "DaemonSet"}, w.Kind) {
		return nil
	}
	limit = limit.DeepCopy()
	limit.Add(limit)
	return []string{kubectl(c.pod.Namespace, fmt.Sprintf("set resources %s/%s -c %s --limits=memory=%s", strings.ToLower(w.Kind), w.Name, c.spec.Name, limit.String()))}
}

// crash is a container that ends by itself, for a reason that only it knows.
func crash(c container) (Finding, bool) {
	t, ended := c.ended()
	if !ended || c.well() {
		return Finding{}, false
	}
	lines := lastOf(c.lines(), 10)
	f := Finding{
		Code: ContainerCrash, Hopeless: c.again(), Visible: t.FinishedAt.Time,
		Sentence: fmt.Sprintf("container %s of %s ends with exit code %d%s", c.spec.Name, c.view.workload(c.pod), t.ExitCode, lastWords(lines)),
		Evidence: []Evidence{c.state()},
		Next:     []string{kubectl(c.pod.Namespace, fmt.Sprintf("logs %s -c %s%s", c.pod.Name, c.spec.Name, c.previousFlag()))},
	}
	if len(lines) > 0 {
		f.Evidence = append(f.Evidence, c.logEvidence(lines))
	}
	return c.found(f)
}

func (c container) previousFlag() string {
	if c.status.State.Terminated == nil {
		return " --previous"
	}
	return ""
}

// lastWords is the last line of a log, for a sentence.
func lastWords(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if line := strings.TrimSpace(lines[i]); line != "" {
			return ": " + shorten(line, 200)
		}
	}
	return " and writes nothing"
}

func shorten(text string, to int) string {
	if r := []rune(text); len(r) > to {
		return string(r[:to]) + "…"
	}
	return text
}

func lastOf(lines []string, count int) []string { return lines[max(0, len(lines)-count):] }

// livenessKills is a probe that ends a container that would have gone on.
func livenessKills(c container) (Finding, bool) {
	killed, kind, probe := happening{}, "", c.spec.LivenessProbe
	for _, k := range []string{"liveness", "startup"} {
		if h, ok := c.event("Killing", "Container "+c.spec.Name+" failed "+k+" probe"); ok {
			killed, kind = h, k
		}
	}
	if kind == "startup" {
		probe = c.spec.StartupProbe
	}
	if kind == "" || probe == nil || c.well() && !c.begunBefore(killed.last) {
		return Finding{}, false
	}
	f := Finding{
		Code: LivenessKills, Hopeless: c.view.repeats(killed, crashes), Visible: killed.first,
		Sentence: fmt.Sprintf("the %s probe of container %s of %s kills it %s after its start, before it answers%s",
			kind, c.spec.Name, c.view.workload(c.pod), allowed(probe), withoutStartup(c.spec)),
		Evidence: []Evidence{killed.evidence(c.object())},
		Next:     []string{kubectl(c.pod.Namespace, fmt.Sprintf("get pod %s -o jsonpath='{.spec.containers[*].%sProbe}'", c.pod.Name, kind))},
	}
	if f.Hopeless {
		f.Visible = killed.nth(crashes)
	}
	if h, ok := c.event("Unhealthy", ""); ok {
		f.Evidence = append(f.Evidence, h.evidence(c.object()))
	}
	return c.found(f)
}

// begunBefore tells whether the container still runs as it did at that time.
// Without a readiness probe it counts as ready also while it is being killed.
func (c container) begunBefore(t time.Time) bool {
	r := c.status.State.Running
	return r != nil && r.StartedAt.Time.Before(t)
}

// allowed is how long a probe lets a container fail.
func allowed(p *corev1.Probe) time.Duration {
	period, threshold := max(p.PeriodSeconds, 1), max(p.FailureThreshold, 1)
	return time.Duration(p.InitialDelaySeconds+(threshold-1)*period+p.TimeoutSeconds) * time.Second
}

func withoutStartup(c corev1.Container) string {
	if c.StartupProbe == nil {
		return "; it has no startup probe that would wait"
	}
	return ""
}
